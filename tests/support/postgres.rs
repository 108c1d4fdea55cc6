//! A real PostgreSQL server of one's own: made in a temporary folder, reached on a loopback port, gone with the process.
//!
//! A shell keeps each server. It waits at a pipe from this process, and when that ends, for whatever reason, the server
//! ends and its folder goes. So it does not matter how this process ends.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, User};
use sqlx::{Connection as _, Row as _};

/// How long the server may take to start, to recover or to end. Generous: machines that run tests are busy.
const DEADLINE: Duration = Duration::from_secs(60);
/// Ports that the system gives to nobody by itself, so that a server that is down finds its own still free.
const PORTS: std::ops::Range<u32> = 20_000..30_000;
/// What the server says when it can be reached.
const READY: &str = "database system is ready to accept connections";
/// Starts the server, says its process, and ends it by the signal that is read, or when nobody is left who could send it.
const KEEPER: &str = r#"folder=$1; shift
"$@" & echo $! >&2
read -r signal || signal=gone
case $signal in gone) kill -s QUIT $!;; *) kill -s "$signal" $!;; esac
wait $!
case $signal in gone) rm -rf "$folder";; esac"#;

/// Settings that make it fast, but let it keep what it acknowledges.
const SETTINGS: [&str; 8] = [
    // A page is half written only when the machine stops, which no test can do.
    "full_page_writes=off",
    "checkpoint_timeout=1h",
    "max_wal_size=4GB",
    "autovacuum=off",
    "shared_buffers=64MB",
    "max_connections=300",
    "unix_socket_directories=",
    "lc_messages=C",
];

/// A server, and what its data lie in.
pub(crate) struct Postgres {
    folder: PathBuf,
    port: u32,
    settings: Vec<String>,
    databases: AtomicU32,
    keeper: Mutex<Option<Keeper>>,
}

struct Keeper {
    shell: Child,
    orders: ChildStdin,
    server: Pid,
}

impl Postgres {
    /// Gives the server that all tests of this process share. Nobody stops it or changes what belongs to all databases.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts a server for one test.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with settings of its own, such as `fsync=off`.
    pub(crate) fn start_with(settings: &[&str]) -> Self {
        Self::start_in(&std::env::temp_dir(), settings)
    }

    /// Starts a server with settings of its own and its data in `place`, which everybody may enter.
    pub(crate) fn start_in(place: &Path, settings: &[&str]) -> Self {
        let folder = make_folder(place);
        let initdb = ["--auth=trust", "--username=gristmill", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"];
        let made = as_nobody(&program("initdb")).args(initdb).arg(folder.join("data")).output();
        let made = made.expect("initdb was found");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let settings = SETTINGS.iter().chain(settings).map(ToString::to_string).collect();
        let server =
            Self { folder, port: free_port(), settings, databases: AtomicU32::new(0), keeper: Mutex::new(None) };
        server.resurrect();
        server
    }

    /// Makes a new empty database, and gives its address.
    pub(crate) fn database(&self) -> String {
        let name = format!("gristmill_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.ask("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// Makes a copy of a database that nobody has open, and gives its address. There is one at a time of each.
    pub(crate) fn copy_of(&self, url: &str) -> String {
        let (_, name) = url.rsplit_once('/').expect("an address ends with the database's name");
        let copy = format!("{name}_copy");
        self.ask("postgres", &format!("DROP DATABASE IF EXISTS {copy} WITH (FORCE)"));
        self.ask("postgres", &format!("CREATE DATABASE {copy} TEMPLATE {name}"));
        self.url(&copy)
    }

    /// Gives the address of a database.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://gristmill@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs a statement in a database behind everybody's back; gives the first column of its rows, which are texts.
    pub(crate) fn ask(&self, database: &str, text: &str) -> Vec<String> {
        ask(&self.url(database), text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// Stops the server as a crash does: connections break, and the next start recovers from the log.
    pub(crate) fn crash(&self) {
        self.end("QUIT");
    }

    /// Stops the server in order: connections are told.
    pub(crate) fn stop(&self) {
        self.end("INT");
    }

    /// Starts it again, at the same address, with what it had acknowledged.
    pub(crate) fn resurrect(&self) {
        let mut keeper = self.keeper.lock().unwrap();
        assert!(keeper.is_none(), "the server runs");
        *keeper = Some(self.launch());
    }

    /// Makes every process of the server stand still: connections stay open and nobody answers.
    pub(crate) fn pause(&self) {
        self.signal_all(Signal::SIGSTOP);
    }

    /// Lets a paused server go on.
    pub(crate) fn unpause(&self) {
        self.signal_all(Signal::SIGCONT);
    }

    fn launch(&self) -> Keeper {
        let mut shell = as_nobody(Path::new("/bin/sh"));
        shell.args(["-c", KEEPER, "keeper"]).arg(&self.folder).arg(program("postgres")).arg("-D");
        shell.arg(self.folder.join("data")).args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        shell.args(self.settings.iter().flat_map(|setting| ["-c", setting]));
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let orders = shell.stdin.take().unwrap();
        let (started, start) = channel();
        let lines = BufReader::new(shell.stderr.take().unwrap());
        std::thread::spawn(move || drain(lines, &started));
        let server = start.recv_timeout(DEADLINE).expect("the server starts").unwrap_or_else(|log| panic!("{log}"));
        Keeper { shell, orders, server }
    }

    fn end(&self, signal: &str) {
        let mut keeper = self.keeper.lock().unwrap().take().expect("the server runs");
        writeln!(keeper.orders, "{signal}").unwrap();
        keeper.shell.wait().unwrap();
    }

    fn signal_all(&self, signal: Signal) {
        let keeper = self.keeper.lock().unwrap();
        let server = keeper.as_ref().expect("the server runs").server;
        // The first one first: it makes no new ones then.
        kill(server, signal).unwrap();
        for child in children_of(server) {
            // It may have ended of itself.
            kill(child, signal).ok();
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(Keeper { mut shell, orders, .. }) = self.keeper.lock().unwrap().take() {
            // That nobody is left ends the server and takes the folder away.
            drop(orders);
            drop(shell.wait());
        }
        // The server's user may empty the folder, but not take it out of a place that is not everybody's.
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// Runs a statement on a connection of its own, in a thread of its own: whoever asks may be inside a runtime.
pub(crate) fn ask(url: &str, text: &str) -> Result<Vec<String>, sqlx::Error> {
    let work = async {
        let mut connection = sqlx::postgres::PgConnection::connect(url).await?;
        let rows = sqlx::query(sqlx::AssertSqlSafe(text)).fetch_all(&mut connection).await?;
        connection.close().await?;
        rows.iter().map(|row| row.try_get(0)).collect()
    };
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}

/// Reads what the server says to its end, so that it never waits for a reader; says its process once it can be reached.
fn drain(mut lines: BufReader<ChildStderr>, started: &Sender<Result<Pid, String>>) {
    let (mut server, mut log, mut line) = (None, String::new(), String::new());
    while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
        server = server.or_else(|| line.trim().parse().ok().map(Pid::from_raw));
        if line.contains(READY) {
            let server = server.expect("the shell says the process first");
            // Nobody listens any more when the server took longer than it may.
            drop(started.send(Ok(server)));
        }
        log.push_str(&line);
        line.clear();
    }
    drop(started.send(Err(format!("the server ended:\n{log}"))));
}

/// A folder that the server's user may write to.
fn make_folder(place: &Path) -> PathBuf {
    let folder = tempfile::Builder::new().prefix("gristmill-postgres-").tempdir_in(place).unwrap().keep();
    if let Some((user, group)) = nobody() {
        std::os::unix::fs::chown(&folder, Some(user.as_raw()), Some(group.as_raw())).unwrap();
    }
    folder
}

/// The server refuses to run as root, so root lets somebody else run it.
fn as_nobody(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").env("LC_ALL", "C");
    if let Some((user, group)) = nobody() {
        command.uid(user.as_raw()).gid(group.as_raw());
    }
    command
}

fn nobody() -> Option<(Uid, Gid)> {
    Uid::effective().is_root().then(|| {
        let nobody = User::from_name("nobody").unwrap().expect("every system has a user called nobody");
        (nobody.uid, nobody.gid)
    })
}

/// Finds a program of the server: on the path, or where Debian keeps each version's, the newest first.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort();
    folders.extend(versions.into_iter().rev().map(|(_, folder)| folder));
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|program| program.is_file());
    found.unwrap_or_else(|| panic!("this test needs {name} of PostgreSQL: run it by `tests/run`, which installs it"))
}

fn free_port() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let count = PORTS.end - PORTS.start;
    // Two processes that run tests begin at different places.
    let ports = std::iter::repeat_with(|| NEXT.fetch_add(1, Ordering::Relaxed))
        .map(|next| PORTS.start + std::process::id().wrapping_mul(37).wrapping_add(next) % count);
    let is_free = |port: &u32| TcpListener::bind(("127.0.0.1", u16::try_from(*port).expect("it is small"))).is_ok();
    ports.take(count as usize).find(is_free).expect("a port is free")
}

/// Lists the processes that a process has started. PostgreSQL's are each in a session of their own.
fn children_of(parent: Pid) -> Vec<Pid> {
    let parent_of = |process: &str| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // After the program's name in brackets come the state and the parent.
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let names = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| parent_of(name) == Some(parent.as_raw()))
        .filter_map(|name| name.parse().ok().map(Pid::from_raw))
        .collect()
}
