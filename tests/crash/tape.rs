//! A tape: what the real program did to the files of its data folder, in order, as `strace` saw it, and between that
//! what it told the world.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The calls that are recorded: everything that changes files, and everything that speaks to others.
const CALLS: &str = "trace=openat,creat,open,pwrite64,write,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,fdatasync,\
                     fsync,sync_file_range,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,sendto,\
                     sendmsg";

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Happening {
    /// A file was opened in a way that makes it if it is not there.
    Opened(PathBuf),
    /// Bytes were written at a place; without one, behind what is there.
    Written(PathBuf, Option<usize>, Vec<u8>),
    /// A file was cut, or made longer.
    Cut(PathBuf, usize),
    /// A name was taken away.
    Removed(PathBuf),
    /// A folder was made.
    Folder(PathBuf),
    /// A file or folder is being synced; what was written before will be safe once this has ended.
    SyncBegins(PathBuf, u32),
    /// It has.
    SyncEnds(PathBuf, u32),
    /// The world was told something.
    Told(Promise),
}

/// What the world was told, or saw: it must be there whatever happens from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Promise {
    /// A webhook request was answered with 2xx.
    Delivery(i64),
    /// A forced build was answered with 2xx.
    Buildset(i64),
    /// A mail with this Message-ID was sent.
    Mail(String),
    /// A step of this build ran.
    Ran(i64),
}

/// The command that records; the program that is recorded and its arguments follow it.
pub(crate) fn recorder(tape: &Path) -> Vec<String> {
    let tape = tape.to_str().expect("a temporary folder is UTF-8");
    let words =
        ["strace", "-f", "--seccomp-bpf", "-y", "-xx", "-s", "16777216", "-e", "signal=none", "-e", CALLS, "-o", tape];
    words.map(str::to_owned).to_vec()
}

/// Fails, and says why, where nothing can be recorded.
pub(crate) fn must_be_able_to_record() {
    let tried = Command::new("strace").args(["-f", "--seccomp-bpf", "-o", "/dev/null", "true"]).output();
    let output = tried.unwrap_or_else(|error| {
        panic!(
            "these tests need strace ({error}): run them by `tests/run`, which installs it, or `apt-get install strace`"
        )
    });
    assert!(
        output.status.success(),
        "strace is there but may not trace here (containers need `--cap-add SYS_PTRACE`, and \
         /proc/sys/kernel/yama/ptrace_scope must be less than 3): {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Reads a tape. `data` is the data folder, `effects` the file in which steps write what they do.
pub(crate) fn read(text: &str, data: &Path, effects: &Path) -> Vec<Happening> {
    let mut reader = Reader { data, effects, begun: BTreeMap::new(), happened: Vec::new(), syncs: 0 };
    for line in text.lines() {
        reader.line(line);
    }
    reader.happened
}

struct Reader<'a> {
    data: &'a Path,
    effects: &'a Path,
    /// Per thread, the call that has not come back yet: its text and the number of its sync.
    begun: BTreeMap<String, (String, u32)>,
    happened: Vec<Happening>,
    syncs: u32,
}

impl Reader<'_> {
    fn line(&mut self, line: &str) {
        let Some((thread, rest)) = line.split_once(' ') else { return };
        let rest = rest.trim_start();
        if let Some(resumed) = rest.strip_prefix("<... ") {
            let Some((_, rest)) = resumed.split_once(" resumed>") else { return };
            if let Some((begin, sync)) = self.begun.remove(thread) {
                self.ended(&format!("{begin}{rest}"), sync);
            }
        } else if let Some(begin) = rest.strip_suffix(" <unfinished ...>") {
            let sync = self.begins(begin);
            self.begun.insert(thread.to_owned(), (begin.to_owned(), sync));
        } else if rest.contains(") = ") || rest.contains(") ") {
            let sync = self.begins(rest);
            self.ended(rest, sync);
        }
    }

    /// Notes the beginning of a sync, and what is told: it may be heard from its first moment on.
    fn begins(&mut self, call: &str) -> u32 {
        let Some((name, arguments)) = call.split_once('(') else { return 0 };
        if matches!(name, "write" | "writev" | "sendto" | "sendmsg") {
            self.tell(arguments);
        }
        if !matches!(name, "fsync" | "fdatasync") {
            return 0;
        }
        let Some(path) = self.ours(&descriptor(arguments)) else { return 0 };
        self.syncs += 1;
        self.happened.push(Happening::SyncBegins(path, self.syncs));
        self.syncs
    }

    fn ended(&mut self, call: &str, sync: u32) {
        let (Some((name, arguments)), Some((_, result))) = (call.split_once('('), call.rsplit_once(" = ")) else {
            return;
        };
        let result = result.trim();
        if result.starts_with(['-', '?']) {
            return;
        }
        let happening = match name {
            "openat" | "open" | "creat" => self.opened(arguments, result),
            "pwrite64" | "write" => self.written(name, arguments, result),
            "ftruncate" => self.ours(&descriptor(arguments)).map(|path| Happening::Cut(path, number(arguments, 0))),
            "fsync" | "fdatasync" => self.ours(&descriptor(arguments)).map(|path| Happening::SyncEnds(path, sync)),
            "unlink" | "unlinkat" => self.ours(&last_text(arguments)).map(Happening::Removed),
            "mkdir" | "mkdirat" => self.ours(&last_text(arguments)).map(Happening::Folder),
            "sendto" | "sendmsg" => None,
            // What the product does not do today, and what this reader would have to learn if it did.
            _ => {
                let is_ours = self.ours(&descriptor(arguments)).or_else(|| self.ours(&last_text(arguments))).is_some();
                assert!(!is_ours, "the tape has a call that is not understood: {name}({arguments:.300}");
                None
            }
        };
        self.happened.extend(happening);
    }

    fn opened(&mut self, arguments: &str, result: &str) -> Option<Happening> {
        let path = self.ours(&descriptor(result))?;
        if arguments.contains("O_TRUNC") {
            self.happened.push(Happening::Opened(path.clone()));
            return Some(Happening::Cut(path, 0));
        }
        arguments.contains("O_CREAT").then_some(Happening::Opened(path))
    }

    fn written(&self, name: &str, arguments: &str, result: &str) -> Option<Happening> {
        let path = self.ours(&descriptor(arguments))?;
        let mut bytes = texts(arguments);
        bytes.truncate(result.parse().ok()?);
        let place = (name == "pwrite64").then(|| number(arguments, 0));
        Some(Happening::Written(path, place, bytes))
    }

    /// Gives a path if it is a file whose fate matters, or the folder that has the data folder's name in it. The shared memory
    /// of the database is none (it is made again after every crash), and neither are the folders in which builds work.
    fn ours(&self, path: &[u8]) -> Option<PathBuf> {
        let path = PathBuf::from(String::from_utf8_lossy(path).into_owned());
        if Some(&*path) == self.data.parent() {
            return Some(path);
        }
        let inner = path.strip_prefix(self.data).ok()?;
        let is_passing = inner.starts_with("worker/workspaces") || path.to_string_lossy().ends_with("-shm");
        (!is_passing).then_some(path)
    }

    fn tell(&mut self, arguments: &str) {
        let target = descriptor(arguments);
        let is_socket = target.starts_with(b"socket:");
        if !is_socket && target != self.effects.as_os_str().as_encoded_bytes() {
            return;
        }
        let bytes = texts(arguments);
        let text = String::from_utf8_lossy(&bytes);
        self.happened.extend(promise(&text, is_socket).map(Happening::Told));
    }
}

/// Says what was promised by a text that left the service or a step.
fn promise(text: &str, is_socket: bool) -> Option<Promise> {
    if !is_socket {
        let mut words = text.split_whitespace();
        return words.nth(1)?.parse().ok().map(Promise::Ran);
    }
    if text.starts_with("HTTP/1.1 20") {
        let body: serde_json::Value = serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()?;
        let delivery = body["delivery"].as_i64().map(Promise::Delivery);
        return delivery.or_else(|| body["buildset"].as_i64().map(Promise::Buildset));
    }
    let id = text.split_once("Message-ID: <")?.1;
    Some(Promise::Mail(id.split_once('@')?.0.to_owned()))
}

/// Gives what stands in the first `<…>`: where a file descriptor leads.
fn descriptor(text: &str) -> Vec<u8> {
    let inner = text.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map(|(inner, _)| bytes(inner)).unwrap_or_default()
}

/// Gives what stands between quotes, all of it together.
fn texts(arguments: &str) -> Vec<u8> {
    arguments.split('"').skip(1).step_by(2).flat_map(bytes).collect()
}

fn last_text(arguments: &str) -> Vec<u8> {
    let texts: Vec<&str> = arguments.split('"').skip(1).step_by(2).collect();
    texts.last().map(|text| bytes(text)).unwrap_or_default()
}

/// Reads `\x2f\x74`.
fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.split("\\x").skip(1);
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap_or_else(|_| panic!("no hexadecimal: {pair:.40}"))).collect()
}

/// Gives the argument that is the `index`th from the end, a number.
fn number(arguments: &str, index: usize) -> usize {
    let inside = arguments.rsplit_once(')').map_or(arguments, |(inside, _)| inside);
    let text = inside.rsplit(", ").nth(index).unwrap_or_default();
    text.trim().parse().unwrap_or_else(|_| panic!("no number at the end of {inside:.200}"))
}

#[test]
fn a_tape_is_read_as_it_was_recorded() {
    let hex = |text: &str| text.bytes().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    let (file, log) = (hex("/d/gristmill.db"), hex("/d/logs/a"));
    let answer = hex("HTTP/1.1 202 Accepted\r\n\r\n{\"delivery\":7}");
    let tape = format!(
        "10 openat(AT_FDCWD<{d}>, \"{file}\", O_RDWR|O_CREAT, 0600) = 3<{file}>
10 pwrite64(3<{file}>, \"{ab}\", 2, 4096) = 2
11 fdatasync(3<{file}> <unfinished ...>
10 pwrite64(3<{file}>, \"{ab}\", 2, 0 <unfinished ...>
11 <... fdatasync resumed>)              = 0
10 <... pwrite64 resumed>)              = 1
10 fsync(3<{file}>) = -1 EIO (Input/output error)
10 ftruncate(3<{file}>, 5) = 0
10 writev(9<{socket}>, [{{iov_base=\"{answer}\", iov_len=39}}], 1) = 39
12 write(1<{effects}>, \"{start}\", 10) = 10
12 mkdir(\"{log}\", 0777) = 0
12 unlink(\"{file}\") = 0
12 write(1<{other}>, \"{ab}\", 2) = 2
",
        d = hex("/d"),
        ab = hex("ab"),
        socket = hex("socket:[1]"),
        effects = hex("/effects"),
        start = hex("start 4 1\n"),
        other = hex("/elsewhere"),
    );
    let database = PathBuf::from("/d/gristmill.db");
    assert_eq!(
        read(&tape, Path::new("/d"), Path::new("/effects")),
        [
            Happening::Opened(database.clone()),
            Happening::Written(database.clone(), Some(4096), b"ab".to_vec()),
            Happening::SyncBegins(database.clone(), 1),
            Happening::SyncEnds(database.clone(), 1),
            Happening::Written(database.clone(), Some(0), b"a".to_vec()),
            Happening::SyncBegins(database.clone(), 2),
            Happening::Cut(database.clone(), 5),
            Happening::Told(Promise::Delivery(7)),
            Happening::Told(Promise::Ran(4)),
            Happening::Folder("/d/logs/a".into()),
            Happening::Removed(database),
        ]
    );
}
