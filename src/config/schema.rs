//! The JSON Schema of the language, for editors and other programs.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::raw::RawFile;

/// Gives the JSON Schema (draft 2020-12). It comes of the same description that the reader uses.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<RawFile>().to_value();
    refuse_null(&mut schema);
    admit_scalars(&mut schema);
    rename(&mut schema);
    schema
}

/// Takes the prefix of our types away from the names of definitions.
fn rename(schema: &mut Value) {
    let plain = |name: &str| name.strip_prefix("Raw").unwrap_or(name).to_owned();
    match schema {
        Value::Array(items) => items.iter_mut().for_each(rename),
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get_mut("$ref") {
                *reference = reference.replace("/$defs/Raw", "/$defs/");
            }
            if let Some(Value::Object(definitions)) = object.get_mut("$defs") {
                *definitions = std::mem::take(definitions).into_iter().map(|(name, it)| (plain(&name), it)).collect();
            }
            object.values_mut().for_each(rename);
        }
        _ => {}
    }
}

/// Lets a text without rules of its own be a number or a boolean too: the reader takes it as it is written, so that
/// `branch: 1.10` needs no quotes.
fn admit_scalars(schema: &mut Value) {
    const RULES: [&str; 4] = ["enum", "const", "pattern", "minLength"];
    match schema {
        Value::Array(items) => items.iter_mut().for_each(admit_scalars),
        Value::Object(object) => {
            if object.get("type") == Some(&json!("string")) && !RULES.iter().any(|rule| object.contains_key(*rule)) {
                object.insert("type".to_owned(), json!(["string", "number", "boolean"]));
            }
            object.values_mut().for_each(admit_scalars);
        }
        _ => {}
    }
}

/// Takes `null` away wherever it is one of several possibilities: a key is written with a value, or not at all.
fn refuse_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(refuse_null),
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(words)) = object.get_mut("enum") {
                words.retain(|word| !word.is_null());
            }
            if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
                choices.retain(|choice| choice != &json!({"type": "null"}));
                if let [Value::Object(only)] = choices.as_slice() {
                    let only = only.clone();
                    object.remove("anyOf");
                    for (key, value) in only {
                        object.entry(key).or_insert(value);
                    }
                }
            }
            object.values_mut().for_each(refuse_null);
        }
        _ => {}
    }
}
