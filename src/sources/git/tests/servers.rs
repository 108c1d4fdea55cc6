//! Git servers for tests: the real daemon, the real `http-backend` behind a small bridge, a stand-in for `ssh`.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};

/// A server that runs `git daemon` for each connection, as inetd would.
pub(crate) fn git_daemon(folder: &Path) -> SocketAddr {
    let base = folder.to_owned();
    serve_raw(move |stream| {
        let fd = OwnedFd::from(stream);
        let other = fd.try_clone().expect("sockets can be doubled");
        let mut child = Command::new("git")
            .args(["daemon", "--inetd", "--export-all", "--informative-errors"])
            .arg(format!("--base-path={}", base.display()))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .stdin(Stdio::from(fd))
            .stdout(Stdio::from(other))
            .stderr(Stdio::null())
            .spawn()
            .expect("git can be run");
        child.wait().expect("git ends");
    })
}

/// A server that does whatever with each connection, on a thread of its own.
pub(crate) fn serve_raw(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// A server that takes connections and says nothing; the connections are kept open.
pub(crate) fn silent() -> SocketAddr {
    let kept = Mutex::new(Vec::new());
    serve_raw(move |stream| kept.lock().expect("no test panics here").push(stream))
}

/// What a bridge to `git http-backend` does besides.
#[derive(Default)]
pub(crate) struct Bridge {
    pub(crate) root: PathBuf,
    /// The `Authorization` header that is asked for.
    pub(crate) authorization: Option<String>,
    /// Where a path's first segment is redirected to.
    pub(crate) redirects: BTreeMap<String, String>,
    /// Every request: method, path with query, authorization.
    pub(crate) seen: Mutex<Vec<(String, String, Option<String>)>>,
}

/// Serves git over HTTP until the test process ends.
pub(crate) fn http(bridge: Bridge) -> (SocketAddr, Arc<Bridge>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.set_nonblocking(true).expect("it is a socket");
    let address = listener.local_addr().expect("it is bound");
    let bridge = Arc::new(bridge);
    let app = axum::Router::new().fallback(answer).with_state(Arc::clone(&bridge));
    std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("it is a socket");
            axum::serve(listener, app).await.expect("it serves");
        });
    });
    (address, bridge)
}

async fn answer(
    State(bridge): State<Arc<Bridge>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response<Body> {
    let said = move |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let whole = uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let authorization = said("authorization");
    bridge.seen.lock().expect("no test panics here").push((method.to_string(), whole.clone(), authorization.clone()));
    let mut response = Response::builder();
    let first = uri.path().split('/').nth(1).unwrap_or("");
    if let Some(to) = bridge.redirects.get(first) {
        let to = whole.replacen(&format!("/{first}"), to, 1);
        return response.status(302).header("location", to).body(Body::empty()).expect("it is a response");
    }
    if bridge.authorization.is_some() && bridge.authorization != authorization {
        response = response.header("www-authenticate", "Basic realm=git");
        return response.status(StatusCode::UNAUTHORIZED).body(Body::empty()).expect("it is a response");
    }
    let body = to_bytes(body, usize::MAX).await.expect("it comes");
    let output = tokio::task::spawn_blocking(move || {
        let mut child = backend(&bridge.root, &method, &uri, said("content-type"), body.len());
        child.stdin.take().expect("it was asked for").write_all(&body).ok();
        child.wait_with_output().expect("git ends").stdout
    });
    let output = output.await.expect("it runs");
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").expect("a CGI program sends headers");
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(": ").expect("a header has a colon");
        match name {
            "Status" => response = response.status(value[..3].parse::<u16>().expect("a status is a number")),
            _ => response = response.header(name, value),
        }
    }
    response.body(Body::from(output[end + 4..].to_vec())).expect("it is a response")
}

fn backend(root: &Path, method: &Method, uri: &Uri, content_type: Option<String>, length: usize) -> Child {
    Command::new("git")
        .arg("http-backend")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", uri.path())
        .env("QUERY_STRING", uri.query().unwrap_or(""))
        .env("REQUEST_METHOD", method.as_str())
        .env("CONTENT_TYPE", content_type.unwrap_or_default())
        .env("CONTENT_LENGTH", length.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("git can be run")
}

/// A stand-in for `ssh` that writes its arguments to `ssh.log`, keeps a copy of the key, and does `then`.
pub(crate) fn fake_ssh(folder: &Path, then: &str) -> PathBuf {
    let path = folder.join("fake-ssh");
    let text = format!(
        "#!/bin/sh\nfor word in \"$@\"; do printf '%s\\n' \"$word\"; done > {folder}/ssh.log\n\
         previous=; for word in \"$@\"; do [ \"$previous\" = -i ] && stat -c %a \"$word\" > {folder}/key.mode && cp \"$word\" {folder}/key; \
         previous=$word; done\n\
         {then}\n",
        folder = folder.display()
    );
    std::fs::write(&path, text).expect("files can be written");
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, permissions).expect("it is ours");
    path
}
