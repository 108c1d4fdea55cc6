//! Exact revisions in folders that earlier builds have used, and misused.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use gristmill_model::CheckoutMethod::{self, Clean, Fresh, Incremental};
use gristmill_model::protocol::BuildOrder;

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::service::Ended;
use crate::world::{Repository, World, checkout, script, with_source};

/// A world with one repository.
struct Scene {
    world: World,
    app: Repository,
}

impl Scene {
    async fn start() -> Self {
        let world = World::start().await;
        let app = Repository::create(world.path("app.git"));
        Self { world, app }
    }

    /// Makes an order that checks out `revision` and then runs a script.
    fn order(&self, method: CheckoutMethod, revision: &str, then: &str) -> BuildOrder {
        let mut order = self.world.order(vec![checkout(method), script("then", then)]);
        with_source(&mut order, "app", "", &self.app.url(), revision);
        order
    }

    async fn run(&self, method: CheckoutMethod, revision: &str, then: &str) -> Ended {
        self.world.service.run(self.order(method, revision, then)).await
    }
}

fn check_success(ended: &Ended, output: &str) {
    let (end, log) = (ended.end(), ended.log(0));
    assert!(end.starts_with("success"), "{end}\n{log}\n{}", ended.log(1));
    let printed = ended.log(1);
    let printed = printed.split_once('\n').map_or("", |(_, rest)| rest);
    assert_eq!(printed, output, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exact_revision_is_built_and_not_what_is_newest() {
    let scene = Scene::start().await;
    let first = scene.app.commit("file", "one\n");
    let second = scene.app.commit("file", "two\n");
    scene.app.commit("file", "three\n");
    let ended = scene.run(Incremental, &first, "cat file; git rev-parse HEAD").await;
    check_success(&ended, &format!("one\n{first}\n"));
    assert_eq!(ended.steps()[0].2, format!("app at {}", &first[..8]));
    check_success(&scene.run(Incremental, &second, "cat file").await, "two\n");
    check_success(&scene.run(Incremental, &first, "cat file").await, "one\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_method_keeps_what_it_says() {
    let scene = Scene::start().await;
    scene.app.commit(".gitignore", "*.o\n");
    let revision = scene.app.commit("file", "one\n");
    let litter = "echo changed > file; touch new ignored.o; mkdir -p dir; touch dir/new";
    let look = "cat file; ls -d new ignored.o dir 2>/dev/null || :";
    for (method, left) in [(Incremental, "dir\nignored.o\nnew\n"), (Clean, "ignored.o\n"), (Fresh, "")] {
        check_success(&scene.run(Incremental, &revision, litter).await, "");
        check_success(&scene.run(method, &revision, look).await, &format!("one\n{left}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_codebases_have_their_folders_and_cleaning_one_spares_the_others() {
    let scene = Scene::start().await;
    let lib = Repository::create(scene.world.path("lib.git"));
    let (app_revision, lib_revision) = (scene.app.commit("app", "a\n"), lib.commit("lib", "l\n"));
    for method in [Incremental, Clean, Fresh, Fresh] {
        let mut order =
            scene.order(method, &app_revision, "cat app 'third party/lib/lib'; touch 'third party/lib/new' x");
        with_source(&mut order, "lib", "third party/lib", &lib.url(), &lib_revision);
        check_success(&scene.world.service.run(order).await, "a\nl\n");
    }
    let mut order = scene.order(Fresh, &app_revision, "ls 'third party/lib'; ls");
    with_source(&mut order, "lib", "third party/lib", &lib.url(), &lib_revision);
    check_success(&scene.world.service.run(order).await, "lib\napp\nthird party\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_no_branch_holds_any_more_is_built_as_long_as_it_is_there() {
    let scene = Scene::start().await;
    scene.app.commit("file", "one\n");
    let lost = scene.app.commit("file", "lost\n");
    scene.app.git(&["reset", "-q", "--hard", "HEAD^"]);
    check_success(&scene.run(Incremental, &lost, "cat file").await, "lost\n");
    let nowhere = "0123456789".repeat(4);
    let ended = scene.run(Incremental, &nowhere, "true").await;
    let end = ended.end();
    assert!(end.starts_with(&format!("exception (policy): step checkout: revision {nowhere} is not in")), "{end}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_gives_out_only_what_has_a_name_is_enough() {
    let scene = Scene::start().await;
    let old = scene.app.commit("file", "one\n");
    scene.app.commit("file", "two\n");
    let url = serve_as_of_old(scene.app.path.clone()).await;
    let mut order = scene.order(Incremental, &old, "cat file");
    for origin in order.origins.values_mut() {
        origin.url.clone_from(&url);
    }
    let ended = scene.world.service.run(order).await;
    assert!(ended.log(0).contains("Server does not allow request for unadvertised object"), "{}", ended.log(0));
    check_success(&ended, "one\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_look_like_options_or_commands_do_nothing() {
    let scene = Scene::start().await;
    let note = scene.world.path("note");
    let revision = scene.app.commit("file", "one\n");
    for branch in ["--upload-pack=touch${IFS}x", "$(touch${IFS}x)", "`touch`", "a;touch${IFS}x", "<script>"] {
        let name = format!("refs/heads/{branch}");
        scene.app.git(&["update-ref", "--", &name, &revision]);
        let mut order = scene.order(Incremental, &revision, "ls; printf '%s\\n' \"$GRISTMILL_BRANCH\"");
        order.branch = branch.to_owned();
        for stamp in order.stamps.values_mut() {
            stamp.branch = branch.to_owned();
        }
        check_success(&scene.world.service.run(order).await, &format!("file\n{branch}\n"));
    }
    let upload_pack = format!("--upload-pack=touch {}", note.display());
    let helper = format!("ext::sh -c touch% {}", note.display());
    for url in [upload_pack.as_str(), &helper, "fd::0", "-", ""] {
        let mut order = scene.world.order(vec![checkout(Incremental)]);
        with_source(&mut order, "app", "", url, &revision);
        order.builder = "other".into();
        let end = scene.world.service.run(order).await.end();
        assert!(end.starts_with("exception (policy)") || end.starts_with("retry (infrastructure)"), "{url}: {end}");
    }
    for bad in ["main", "--upload-pack=x", "$(id)", "HEAD", ""] {
        let end = scene.run(Incremental, bad, "true").await.end();
        assert!(end.starts_with("exception (policy): step checkout: "), "{bad}: {end}");
    }
    assert!(!note.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_leads_out_is_refused() {
    let scene = Scene::start().await;
    let revision = scene.app.commit("file", "one\n");
    let out = scene.world.path("out");
    std::fs::create_dir(&out).unwrap();
    check_success(&scene.run(Incremental, &revision, &format!("ln -s {} link", out.display())).await, "");
    for into in ["..", "/tmp/x", "a/../../b", ".git/hooks", "link", "link/deep"] {
        let mut order = scene.world.order(vec![checkout(Fresh)]);
        with_source(&mut order, "app", into, &scene.app.url(), &revision);
        let end = scene.world.service.run(order).await.end();
        assert!(end.starts_with("exception (policy): step checkout: "), "{into}: {end}");
    }
    assert!(std::fs::read_dir(out).unwrap().next().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_one_repository_leads_no_other_codebase_out() {
    let scene = Scene::start().await;
    let out = scene.world.path("out");
    std::fs::create_dir(&out).unwrap();
    scene.app.commit("file", "one\n");
    std::os::unix::fs::symlink(&out, scene.app.path.join("lib")).unwrap();
    let revision = scene.app.commit("file", "two\n");
    let lib = Repository::create(scene.world.path("lib.git"));
    let lib_revision = lib.commit("lib", "l\n");
    let mut order = scene.order(Incremental, &revision, "true");
    with_source(&mut order, "lib", "lib", &lib.url(), &lib_revision);
    let end = scene.world.service.run(order).await.end();
    assert_eq!(
        end,
        "exception (policy): step checkout: `lib` leads out of the build's folder: `lib` is a symbolic link"
    );
    assert!(std::fs::read_dir(out).unwrap().next().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_build_did_to_the_repository_is_mended() {
    let scene = Scene::start().await;
    let note = scene.world.path("note");
    let first = scene.app.commit("file", "one\n");
    let revision = scene.app.commit("file", "two\n");
    let touch = format!("touch {}", note.display());
    for misdeed in [
        "touch .git/index.lock .git/HEAD.lock",
        "rm .git/HEAD",
        "echo garbage > .git/index",
        "echo garbage > .git/HEAD",
        "find .git/objects -type f -exec rm -f '{}' +",
        "find .git/objects -type f -exec chmod u+w '{}' + -exec truncate -s 5 '{}' +",
        "rm -rf .git",
        "rm -rf .git; echo 'gitdir: /nowhere' > .git",
        "rm -rf .git; ln -s /nowhere .git",
        "mkdir -p ro/ro; chmod a-w ro/ro; rm -rf .git/objects/pack; chmod a-w .git",
        &format!("printf '#!/bin/sh\\n{touch}\\n' > .git/hooks/post-checkout; chmod +x .git/hooks/post-checkout"),
        &format!("git config core.fsmonitor '{touch}'; git config core.sshCommand '{touch}'"),
        &format!("git config filter.x.smudge '{touch}'; echo '* filter=x' > .git/info/attributes"),
    ] {
        let setup = format!("mkdir -p .git/hooks .git/info; {misdeed}");
        check_success(&scene.run(Incremental, &first, &setup).await, "");
        let ended = scene.run(Incremental, &revision, "cat file").await;
        assert!(ended.end().starts_with("success"), "{misdeed}: {}\n{}", ended.end(), ended.log(0));
        check_success(&ended, "two\n");
        let ended = scene.run(Incremental, &revision, "git status --porcelain --untracked-files=no").await;
        check_success(&ended, "");
    }
    assert!(!note.exists(), "no hook, filter or helper of a build runs in a checkout");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_does_not_answer_costs_no_folder() {
    let scene = Scene::start().await;
    let first = scene.app.commit("file", "one\n");
    let second = scene.app.commit("file", "two\n");
    check_success(&scene.run(Incremental, &first, "touch kept").await, "");
    let away = scene.world.path("away");
    std::fs::rename(&scene.app.path, &away).unwrap();
    let end = scene.run(Incremental, &second, "true").await.end();
    assert!(
        end.starts_with("retry (infrastructure): step checkout: `") && end.ends_with("cannot be fetched from"),
        "{end}"
    );
    // What is there already needs no origin.
    check_success(&scene.run(Incremental, &first, "ls").await, "file\nkept\n");
    std::fs::rename(&away, &scene.app.path).unwrap();
    check_success(&scene.run(Incremental, &second, "ls; cat file").await, "file\nkept\ntwo\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_folder_inside_another_repository_does_not_reach_that_one() {
    let outer = tempfile::tempdir().unwrap();
    let repository = Repository::create(outer.path().to_owned());
    repository.commit("precious", "x\n");
    std::fs::write(outer.path().join("untracked"), "x\n").unwrap();
    let data = outer.path().join("worker");
    let world = World::start_with(|options| options.data.clone_from(&data)).await;
    let app = Repository::create(world.path("app.git"));
    let revision = app.commit("file", "one\n");
    let order = |then: &str| {
        let mut order = world.order(vec![checkout(Fresh), script("then", then)]);
        with_source(&mut order, "app", "", &app.url(), &revision);
        order
    };
    check_success(&world.service.run(order("echo garbage > .git/HEAD; rm -rf .git/objects/*")).await, "");
    check_success(&world.service.run(order("cat file")).await, "one\n");
    assert!(outer.path().join("untracked").exists() && outer.path().join("precious").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incremental_checkout_is_two_calls_of_git_and_one_when_nothing_moved() {
    let scene = Scene::start().await;
    let bin = scene.world.path("bin");
    std::fs::create_dir(&bin).unwrap();
    let calls = scene.world.path("calls");
    let wrapper = format!("#!/bin/sh\necho \"$1\" >> {}\nPATH=${{PATH#*:}} exec git \"$@\"\n", calls.display());
    std::fs::write(bin.join("git"), wrapper).unwrap();
    std::fs::set_permissions(bin.join("git"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    for (text, expected) in [("one\n", "fetch\ncheckout\n"), ("two\n", "fetch\ncheckout\n"), ("", "checkout\n")] {
        let revision = if text.is_empty() { scene.app.revision("HEAD") } else { scene.app.commit("file", text) };
        let mut order = scene.order(Incremental, &revision, "cat file");
        order.recipe.environment.insert("PATH".to_owned(), path.clone());
        std::fs::write(&calls, "").unwrap();
        let ended = scene.world.service.run(order).await;
        assert!(ended.end().starts_with("success"), "{}\n{}", ended.end(), ended.log(0));
        assert_eq!(std::fs::read_to_string(&calls).unwrap(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_codebases_in_one_folder_are_refused() {
    let scene = Scene::start().await;
    let revision = scene.app.commit("file", "one\n");
    let mut order = scene.order(Incremental, &revision, "true");
    with_source(&mut order, "lib", "./", &scene.app.url(), &revision);
    let end = scene.world.service.run(order).await.end();
    assert!(end.ends_with("codebase `lib` goes to `./`, where another one is already"), "{end}");
}

/// Serves a repository as git did before its second protocol, which gives out only what has a name.
async fn serve_as_of_old(path: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("git://{}/app", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut length = [0; 4];
            stream.read_exact(&mut length).await.unwrap();
            let length = usize::from_str_radix(std::str::from_utf8(&length).unwrap(), 16).unwrap();
            // The request wishes for the second protocol, and is not heard.
            stream.read_exact(&mut vec![0; length - 4]).await.unwrap();
            let mut command = tokio::process::Command::new("git");
            let command = command.arg("upload-pack").arg(&path).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut pipes = tokio::io::join(child.stdout.take().unwrap(), child.stdin.take().unwrap());
            tokio::spawn(async move {
                // Whoever hangs up early does not want it.
                tokio::io::copy_bidirectional(&mut stream, &mut pipes).await.ok();
                child.wait().await.unwrap();
            });
        }
    });
    url
}

/// A server for git that ends with its test.
struct Daemon(std::process::Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().unwrap();
    }
}

impl Daemon {
    /// Serves everything below a folder, and gives the URL of that.
    async fn start(folder: &std::path::Path) -> (Self, String) {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // Itself, not through `git`, which would be killed in its place.
        let path = std::process::Command::new("git").arg("--exec-path").output().unwrap().stdout;
        let path = PathBuf::from(String::from_utf8(path).unwrap().trim());
        let child = std::process::Command::new(path.join("git-daemon"))
            .args(["--export-all", "--reuseaddr", "--listen=127.0.0.1", "--log-destination=none"])
            .args([format!("--port={port}"), format!("--base-path={}", folder.display())])
            .arg(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Self(child);
        let mut looks = tokio::time::interval(std::time::Duration::from_millis(5));
        let since = std::time::Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(since.elapsed() < crate::service::PATIENCE, "git daemon does not listen");
            looks.tick().await;
        }
        (daemon, format!("git://127.0.0.1:{port}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_repository_comes_over_the_network_once_for_all_builders() {
    let world = World::start_with(|options| options.mirror_bytes_max = Some(1 << 30)).await;
    let repository = Repository::create(world.path("far/lib"));
    let revision = repository.commit("file", "one\n");
    let (daemon, base) = Daemon::start(&world.path("far")).await;
    let url = format!("{base}/lib");
    let order = |builder: &str| {
        let mut order = world.order(vec![checkout(CheckoutMethod::Fresh), script("show", "cat lib/file")]);
        order.builder = builder.into();
        with_source(&mut order, "lib", "lib", &url, &revision);
        order
    };
    let ended = world.service.run(order("first")).await;
    assert_eq!(ended.end(), "success: 2 steps", "{}", ended.log(0));
    // The origin is gone, another builder has a folder of its own: everything comes from the mirror.
    drop(daemon);
    let ended = world.service.run(order("second")).await;
    assert_eq!(ended.end(), "success: 2 steps", "{}", ended.log(0));
    assert!(ended.log(1).ends_with("one\n"), "{}", ended.log(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_is_broken_costs_a_fetch_and_no_build() {
    let world = World::start_with(|options| options.mirror_bytes_max = Some(1 << 30)).await;
    let repository = Repository::create(world.path("far/lib"));
    let revision = repository.commit("file", "one\n");
    let (_daemon, base) = Daemon::start(&world.path("far")).await;
    let mirrors = world.path("worker/mirrors");
    for builder in ["first", "second", "third"] {
        let mut order = world.order(vec![checkout(CheckoutMethod::Fresh), script("show", "cat lib/file")]);
        order.builder = builder.into();
        with_source(&mut order, "lib", "lib", &format!("{base}/lib"), &revision);
        let ended = world.service.run(order).await;
        assert_eq!(ended.end(), "success: 2 steps", "{builder}: {}", ended.log(0));
        for mirror in std::fs::read_dir(&mirrors).unwrap() {
            // As a build may leave it: files where folders are.
            let objects = mirror.unwrap().path().join("objects");
            std::fs::remove_dir_all(&objects).unwrap();
            std::fs::write(&objects, "").unwrap();
        }
    }
}
