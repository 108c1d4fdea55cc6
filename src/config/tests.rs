//! Golden files, and what holds for all of them: each `tests/config/NAME.yaml` has what is said of it in `NAME.txt`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use expect_test::expect_file;
use proptest::prelude::*;
use serde_json::Value;

use super::raw::{RawBuilder, RawFile, RawMatch, RawNodeMap, RawRepository, RawRoute, RawStep};
use super::shape::Shape as _;
use super::*;

fn golden_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/config")
}

/// Gives all golden texts by name.
fn golden_texts() -> &'static [(String, String)] {
    static TEXTS: std::sync::LazyLock<Vec<(String, String)>> = std::sync::LazyLock::new(find_golden_texts);
    &TEXTS
}

fn find_golden_texts() -> Vec<(String, String)> {
    let mut texts: Vec<_> = std::fs::read_dir(golden_folder())
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| {
            let name = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).expect("it can be read"))
        })
        .collect();
    texts.sort();
    texts
}

/// Reads as if the file stood in `/ci`: what is said must not depend on where the tests run.
fn read_golden(name: &str, text: &str) -> Result<Loaded, Diagnostics> {
    read(text, &format!("/ci/{name}.yaml"))
}

fn found_in(name: &str, text: &str) -> Diagnostics {
    match read_golden(name, text) {
        Ok(loaded) => loaded.warnings,
        Err(diagnostics) => diagnostics,
    }
}

/// Texts that should not be kept as files.
fn made_texts() -> Vec<(&'static str, String)> {
    let smallest = include_str!("../../tests/config/smallest.yaml");
    vec![
        ("made-nothing", String::new()),
        ("made-null", "null\n".to_owned()),
        ("made-text", "hello\n".to_owned()),
        ("made-nul-byte", smallest.replace("make check", "make \0check")),
        ("made-escaped-nul", smallest.replace("make check", "\"make \\0check\"")),
        ("made-brackets", "[".repeat(400_000)),
        ("made-braces", "a: ".to_owned() + &"{a: ".repeat(100_000)),
        ("made-dashes", "- ".repeat(200_000)),
        ("made-too-large", "#".repeat(5 * 1024 * 1024)),
        ("made-open-quote", smallest.replace("make check", "\"make check")),
        ("made-long-command", smallest.replace("make check", &"x".repeat(200_000))),
    ]
}

#[test]
fn what_is_said_of_each_file_stays_the_same() {
    for (name, text) in golden_texts() {
        let said = match read_golden(name, text) {
            Ok(loaded) if loaded.warnings.is_empty() => loaded.summary(),
            Ok(loaded) => format!("{}\n{}", loaded.summary(), loaded.warnings.render(false)),
            Err(diagnostics) => diagnostics.render(false),
        };
        expect_file![golden_folder().join(format!("{name}.txt"))].assert_eq(&said);
    }
    for (name, text) in made_texts() {
        let said = read_golden(name, &text).expect_err("each has a mistake").render(false);
        expect_file![golden_folder().join(format!("{name}.txt"))].assert_eq(&said);
    }
}

#[test]
fn hostile_texts_are_refused_at_once() {
    for (name, text) in made_texts() {
        let before = Instant::now();
        assert!(read_golden(name, &text).is_err(), "{name}");
        assert!(before.elapsed() < Duration::from_secs(5), "{name} took {:?}", before.elapsed());
    }
    let bomb = include_str!("../../tests/config/bomb.yaml");
    let before = Instant::now();
    assert!(read_golden("bomb", bomb).is_err());
    assert!(before.elapsed() < Duration::from_secs(2), "the bomb took {:?}", before.elapsed());
}

/// Makes four megabytes of one line again and again.
fn long_file(head: &str, line: impl Fn(usize) -> String, tail: &str) -> String {
    let mut text = head.to_owned();
    for number in 0.. {
        if text.len() + tail.len() > 3_500_000 {
            break;
        }
        text.push_str(&line(number));
    }
    text + tail
}

#[test]
fn long_files_full_of_mistakes_take_a_moment_only() {
    let repository = "repositories:\n  app: {git: /srv/git/app.git}\n";
    let one = "builders:\n  check: {source: app, steps: [checkout]}\n";
    let texts = [
        ("duplicates", long_file(&format!("{repository}{one}schedulers:\n"), |_| "  a: {}\n".to_owned(), "")),
        ("unknown keys", long_file(&format!("{repository}{one}"), |number| format!("key-{number}: 1\n"), "")),
        (
            "schedulers",
            long_file(
                &format!("{repository}{one}schedulers:\n"),
                |number| format!("  s{number}: {{kind: triggerable, build: chekc}}\n"),
                "",
            ),
        ),
        (
            "patterns",
            long_file(
                &format!("{repository}{one}schedulers:\n  s: {{kind: any-branch, build: check, when: {{branch: ["),
                |_| "\"re:(a{1,50}){1,50}\", ".to_owned(),
                "]}}\n",
            ),
        ),
        (
            "nodes",
            long_file(
                &format!("{repository}{one}schedulers:\n  s:\n    kind: any-branch\n    build:\n"),
                |number| format!("      n{number}: {{builder: check, needs: [n{}, x]}}\n", number / 2),
                "",
            ),
        ),
        (
            "list",
            long_file(
                &format!("{repository}{one}schedulers:\n  s: {{kind: any-branch, build: ["),
                |number| format!("b{number}, "),
                "]}\n",
            ),
        ),
        (
            "sources",
            long_file(
                &format!("{repository}builders:\n  check: {{steps: [checkout], source: ["),
                |_| "app, ".to_owned(),
                "]}\n",
            ),
        ),
        (
            "merges",
            long_file(
                &format!("x-a: &a {{{}}}\nx-b:\n", (0..2_000).map(|n| format!("k{n}: 1, ")).collect::<String>()),
                |_| "  - {<<: *a}\n".to_owned(),
                &format!("{repository}{one}"),
            ),
        ),
    ];
    for (name, text) in texts {
        let before = Instant::now();
        let said = read(&text, "gristmill.yaml").expect_err(name).render(false);
        let limit = Duration::from_secs(if cfg!(debug_assertions) { 30 } else { 5 });
        println!("{name}: {:?}", before.elapsed());
        assert!(before.elapsed() < limit, "{name} took {:?}: {said}", before.elapsed());
    }
}

#[test]
fn every_message_has_a_place_and_a_help_and_speaks_of_the_file_only() {
    let mut codes = BTreeSet::new();
    let made = made_texts().into_iter().map(|(name, text)| (name.to_owned(), text));
    for (name, text) in golden_texts().iter().cloned().chain(made) {
        let found = found_in(&name, &text);
        let said = found.render(false);
        for diagnostic in found.iter() {
            codes.insert(diagnostic.code);
            assert!(!diagnostic.help.trim().is_empty(), "{name}: {}", diagnostic.message);
            assert!(
                !diagnostic.message.ends_with('.') && !diagnostic.help.ends_with('!'),
                "{name}: {}",
                diagnostic.message
            );
            assert!(said.contains(&format!("/ci/{name}.yaml:")) || found.mistakes() > Diagnostics::SHOWN_MAX, "{name}");
            for word in ["serde", "Some(", "None", "variant", "struct", "deserialize", "i64", "panicked"] {
                let text = format!("{} {} {}", diagnostic.message, diagnostic.label, diagnostic.help);
                assert!(!text.contains(word), "{name}: {text}");
            }
        }
    }
    // Files that cannot be read as text have tests of their own.
    codes.extend(Code::all().filter(|code| ["G1001", "G1003"].contains(&code.as_str())));
    let missing: Vec<_> = Code::all().filter(|code| !codes.contains(code)).collect();
    assert!(missing.is_empty(), "codes without a wrong file: {missing:?}");
}

#[test]
fn the_issue_texts_load_and_mean_what_they_say() {
    let smallest = read(include_str!("../../tests/config/smallest.yaml"), "gristmill.yaml").expect("it loads");
    assert!(smallest.warnings.is_empty());
    assert_eq!(
        smallest.catalog.schedulers["push"].graph.keys().map(|node| node.as_str()).collect::<Vec<_>>(),
        ["check"]
    );
    let larger = read(include_str!("../../tests/config/larger.yaml"), "gristmill.yaml").expect("it loads");
    let package = &larger.catalog.schedulers["lib-main"].graph["package"];
    let needs: Vec<_> = package.needs.iter().map(|need| need.node.as_str()).collect();
    assert_eq!(needs, ["test[beta]", "test[stable]"].iter().rev().copied().collect::<Vec<_>>());
    let app_test = &larger.catalog.builders["app-test"];
    assert_eq!(app_test.recipe.sources["lib"].into, "lib");
    assert_eq!(app_test.place.to_string(), "gristmill.yaml:16");
    assert_eq!(larger.catalog.builders["lib-test[beta]"].recipe.steps[1].name, "cargo +beta test");
}

#[test]
fn plain_values_stay_as_they_are_written() {
    let text = include_str!("../../tests/config/smallest.yaml").replace(
        "source: app",
        "source: app\n    matrix: {v: [1.10, 010, no, 1e3]}\n    environment: {A: 0x10, B: 1_000, C: yes}",
    );
    let loaded = read(&text, "gristmill.yaml").unwrap_or_else(|said| panic!("{said}"));
    let names: Vec<_> = loaded.catalog.builders.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["check[010]", "check[1.10]", "check[1e3]", "check[no]"]);
    let environment: Vec<_> = loaded.catalog.builders["check[no]"].recipe.environment.values().cloned().collect();
    assert_eq!(environment, ["0x10", "1_000", "yes"]);
}

#[test]
fn a_file_that_cannot_be_read_is_a_mistake_like_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = load(&folder.path().join("none.yaml")).expect_err("it is not there");
    assert!(missing.render(false).contains("[G1001]"), "{missing}");
    assert!(!missing.render(false).contains('│'), "there is nothing to draw: {missing}");
    assert!(load(folder.path()).expect_err("it is a folder").render(false).contains("[G1001]"));
    let latin = folder.path().join("latin.yaml");
    std::fs::write(&latin, b"projects:\n  caf\xe9: {}\n").expect("it is written");
    let said = load(&latin).expect_err("not UTF-8").render(false);
    assert!(said.contains("latin.yaml:2:6") && said.contains("[G1003]"), "{said}");
    assert!(load(std::path::Path::new("/dev/zero")).is_err(), "an endless file ends");
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_no_mistakes() {
    let smallest = include_str!("../../tests/config/smallest.yaml");
    let loaded = read(&format!("\u{feff}{}", smallest.replace('\n', "\r\n")), "gristmill.yaml").expect("it loads");
    assert_eq!(loaded.catalog.builders.len(), 1);
}

#[test]
fn paths_start_from_the_folder_of_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("gristmill.yaml");
    let text = include_str!("../../tests/config/smallest.yaml").replace("/srv/git/app.git", "repos/app");
    std::fs::write(&file, text).expect("it is written");
    let loaded = load(&file).expect("it loads");
    let wanted = folder.path().canonicalize().expect("it is there").join("repos/app");
    assert_eq!(loaded.catalog.repositories["app"].url, wanted.display().to_string());
}

#[test]
fn json_has_byte_offsets_that_point_into_the_text() {
    let text = include_str!("../../tests/config/unknown-builder.yaml");
    let json = found_in("unknown-builder", text).to_json();
    let first = &json["diagnostics"][0];
    let offset = |key: &str| usize::try_from(first["span"][key].as_u64().expect("a number")).expect("it fits");
    assert_eq!(&text[offset("start")..offset("end")], "linux-x46");
    assert_eq!(
        (first["code"].as_str(), first["line"].as_u64(), first["column"].as_u64()),
        (Some("G2103"), Some(11), Some(18))
    );
}

/// Says whether a schema accepts a value, as far as our schemas go.
fn accepts(schema: &Value, root: &Value, value: &Value) -> bool {
    let Value::Object(rules) = schema else { return schema != &Value::Bool(false) };
    if let Some(reference) = rules.get("$ref").and_then(Value::as_str) {
        let target = root.pointer(reference.trim_start_matches('#')).expect("it is there");
        return accepts(target, root, value);
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is_kind = |wanted: &Value| wanted == kind || (wanted == "number" && kind == "integer");
    let typed = match rules.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(is_kind),
        Some(wanted) => is_kind(wanted),
        None => true,
    };
    let among = |key: &str| rules.get(key).and_then(Value::as_array);
    typed
        && (rules.get("pattern").and_then(Value::as_str).zip(value.as_str()))
            .is_none_or(|(pattern, text)| regex::Regex::new(pattern).expect("a pattern").is_match(text))
        && (rules.get("minLength").and_then(Value::as_u64).zip(value.as_str()))
            .is_none_or(|(least, text)| text.len() as u64 >= least)
        && rules.get("const").is_none_or(|wanted| wanted == value)
        && among("enum").is_none_or(|words| words.contains(value))
        && among("anyOf").is_none_or(|choices| choices.iter().any(|choice| accepts(choice, root, value)))
        && among("oneOf")
            .is_none_or(|choices| choices.iter().filter(|choice| accepts(choice, root, value)).count() == 1)
        && value.as_array().is_none_or(|items| {
            items.iter().all(|item| rules.get("items").is_none_or(|schema| accepts(schema, root, item)))
        })
        && value.as_object().is_none_or(|entries| {
            let required = among("required")
                .is_none_or(|keys| keys.iter().all(|key| entries.contains_key(key.as_str().unwrap_or(""))));
            let properties = rules.get("properties").and_then(Value::as_object);
            required
                && entries.iter().all(|(key, value)| match properties.and_then(|properties| properties.get(key)) {
                    Some(schema) => accepts(schema, root, value),
                    None if rules.contains_key("patternProperties") && key.starts_with("x-") => true,
                    None => rules.get("additionalProperties").is_none_or(|schema| accepts(schema, root, value)),
                })
        })
}

/// Gives a YAML text as JSON, for the schema. Merge keys and anchors are not needed here.
fn as_json(text: &str) -> Value {
    serde_yaml::from_str(text).expect("it is YAML")
}

#[test]
fn reader_and_schema_agree_on_good_files_and_on_their_keys() {
    let schema = schema();
    for name in ["smallest", "larger", "good-language"] {
        let text = std::fs::read_to_string(golden_folder().join(format!("{name}.yaml"))).expect("it can be read");
        let mut value = as_json(&text);
        assert!(accepts(&schema, &schema, &value), "{name}");
        // One strange key in any map with known keys is refused by both.
        value["strange"] = Value::from(1);
        assert!(!accepts(&schema, &schema, &value), "{name}");
    }
    for (name, keys) in [
        ("File", RawFile::KEYS),
        ("Repository", RawRepository::KEYS),
        ("Builder", RawBuilder::KEYS),
        ("Step", RawStep::KEYS),
        ("Match", RawMatch::KEYS),
        ("NodeMap", RawNodeMap::KEYS),
        ("Route", RawRoute::KEYS),
    ] {
        let shape = if name == "File" { &schema } else { &schema["$defs"][name] };
        let known: BTreeSet<_> = shape["properties"].as_object().expect("a map").keys().map(String::as_str).collect();
        assert_eq!(known, keys.iter().copied().collect(), "{name}");
        assert_eq!(shape["additionalProperties"], Value::Bool(false), "{name}");
    }
}

#[test]
fn a_strange_key_in_any_map_is_refused_by_reader_and_schema() {
    let (schema, good) = (schema(), include_str!("../../tests/config/good-language.yaml"));
    let value = as_json(good);
    let mut paths = Vec::new();
    collect_maps(&value, String::new(), &mut paths);
    assert!(paths.len() > 60, "{}", paths.len());
    for path in paths.iter().filter(|path| !path.starts_with("/x-")) {
        let mut wrong = value.clone();
        let map = wrong.pointer_mut(path).and_then(Value::as_object_mut).expect("a map");
        map.insert("strange key".to_owned(), serde_json::json!({"strange": {}}));
        let by_schema = accepts(&schema, &schema, &wrong);
        let by_reader = read(&wrong.to_string(), "gristmill.yaml").is_ok();
        // Maps from free texts (environment, labels, properties, targets) refuse the value instead of the key.
        assert!(!by_schema && !by_reader, "{path}: schema {by_schema}, reader {by_reader}");
    }
    assert!(read(&value.to_string(), "gristmill.yaml").is_ok(), "JSON is YAML");
}

/// Says whether the reader takes a text's keys and types; what names and values mean is not asked.
fn is_well_formed(text: &str) -> bool {
    let mut report = diagnostic::Report::default();
    let read = tree::parse(text, &mut report).and_then(|root| RawFile::read(&load::without_shared(&root), &mut report));
    read.is_some() && !report.has_mistakes()
}

#[test]
fn a_scalar_of_another_type_anywhere_is_judged_alike_by_reader_and_schema() {
    let (schema, good) = (schema(), include_str!("../../tests/config/good-language.yaml"));
    let value = as_json(good);
    let mut paths = Vec::new();
    collect_scalars(&value, String::new(), &mut paths);
    assert!(paths.len() > 150, "{}", paths.len());
    let others = [serde_json::json!(5), serde_json::json!(1.5), true.into(), "a text".into(), "5".into(), Value::Null];
    let (mut refused, mut taken) = (0, 0);
    for path in paths.iter().filter(|path| !path.starts_with("/x-")) {
        for other in others.iter().chain([&serde_json::json!([[]])]) {
            let mut changed = value.clone();
            *changed.pointer_mut(path).expect("it is there") = other.clone();
            let (by_schema, by_reader) = (accepts(&schema, &schema, &changed), is_well_formed(&changed.to_string()));
            assert_eq!(by_schema, by_reader, "{path}: {other} (schema, reader)");
            if by_schema { taken += 1 } else { refused += 1 }
        }
    }
    assert!(refused > 100 && taken > 100, "{refused} refused, {taken} taken");
}

#[test]
fn a_number_or_boolean_is_no_command_without_quotes() {
    let (schema, smallest) = (schema(), include_str!("../../tests/config/smallest.yaml"));
    for (run, is_command) in [
        ("5", false),
        ("1.10", false),
        ("true", false),
        ("0x10", false),
        ("\"5\"", true),
        ("'true'", true),
        ("[sleep, 1.10]", true),
        ("1.10.2", true),
    ] {
        let text = smallest.replace("make check", run);
        assert_eq!(read(&text, "gristmill.yaml").is_ok(), is_command, "{run}");
        assert_eq!(accepts(&schema, &schema, &as_json(&text)), is_command, "{run}");
    }
}

fn collect_scalars(value: &Value, path: String, paths: &mut Vec<String>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                collect_scalars(value, format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")), paths);
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| collect_scalars(item, format!("{path}/{index}"), paths));
        }
        _ => paths.push(path),
    }
}

fn collect_maps(value: &Value, path: String, paths: &mut Vec<String>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                collect_maps(value, format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")), paths);
            }
            paths.push(path);
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| collect_maps(item, format!("{path}/{index}"), paths));
        }
        _ => {}
    }
}

/// Reads twice, draws in every form, and compares: nothing may panic, and nothing may depend on anything else.
fn survives(text: &str) {
    let say = || match read(text, "gristmill.yaml") {
        Ok(loaded) => format!("{}{}{:?}", loaded.summary(), loaded.warnings.render(true), loaded.catalog),
        Err(found) => format!("{}{}{}", found.render(false), found.to_json(), found.to_github()),
    };
    assert_eq!(say(), say());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        survives(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_text_of_yaml_signs_is_survived(text in r#"[-:{}\[\]&*!|>%@,#?'"a-c \n\t<~0-9ü]{0,200}"#) {
        survives(&text);
    }

    #[test]
    fn mutated_files_are_survived(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, r#"[-:{}\[\]&*!,#'"a-c \n$.]{0,6}"#), 1..6),
    ) {
        let texts = golden_texts();
        let mut characters: Vec<char> = which.get(texts).1.chars().take(5_000).collect();
        for (place, length, put) in edits {
            let start = place.index(characters.len() + 1);
            let end = (start + length).min(characters.len());
            characters.splice(start..end, put.chars());
        }
        survives(&characters.into_iter().collect::<String>());
    }

    #[test]
    fn lines_in_any_order_are_survived(which in any::<prop::sample::Index>(), seed in any::<u64>()) {
        let texts = golden_texts();
        let mut lines: Vec<&str> = which.get(texts).1.lines().collect();
        let mut state = seed;
        for index in (1..lines.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            lines.swap(index, usize::try_from(state >> 33).unwrap_or(0) % (index + 1));
        }
        survives(&lines.join("\n"));
    }
}

#[test]
fn what_the_manual_of_steps_shows_can_be_read() {
    let manual = include_str!("../../docs/steps.md");
    let (_, rest) = manual.split_once("```yaml\n").expect("it has an example");
    let (example, _) = rest.split_once("```").expect("the example ends");
    let said = read_golden("steps", example).map(|loaded| loaded.warnings.render(false));
    assert_eq!(said.unwrap_or_else(|mistakes| mistakes.render(false)), "  no mistakes in /ci/steps.yaml\n");
}
