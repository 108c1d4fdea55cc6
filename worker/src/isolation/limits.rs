//! Limits by `ulimit`, which is in every shell: a shell sets them on itself and becomes the step's command.
//!
//! So they hold from the command's first instruction, and all that it starts inherits them. Where one cannot be set the
//! command does not run.

use std::path::PathBuf;

use gristmill_model::Limits;

/// Puts a shell in front of a command that sets its limits.
pub(super) fn wrap(program: PathBuf, arguments: Vec<String>, limits: &Limits) -> (PathBuf, Vec<String>) {
    if limits.is_none() {
        return (program, arguments);
    }
    let head = ["-c".to_owned(), text(limits), "sh".to_owned(), program.display().to_string()];
    ("/bin/sh".into(), head.into_iter().chain(arguments).collect())
}

/// Writes what the shell does. Only numbers go in.
fn text(limits: &Limits) -> String {
    let Limits { memory, processes, file_size, cpu_time, nice } = limits;
    let mut text = String::new();
    let mut set = |what: &str, command: String| {
        text.push_str(&format!("{command} || {{ echo 'gristmill: cannot limit {what}' >&2; exit 126; }}; "));
    };
    if let Some(bytes) = memory {
        set("memory", format!("ulimit -v {}", bytes.div_ceil(1024)));
    }
    if let Some(count) = processes {
        // Shells call it differently.
        set("processes", format!("ulimit -u {count} 2>/dev/null || ulimit -p {count}"));
    }
    if let Some(bytes) = file_size {
        set("the size of files", format!("ulimit -f {}", bytes.div_ceil(512)));
    }
    if let Some(time) = cpu_time {
        set("time on a processor", format!("ulimit -t {}", time.as_secs().max(1)));
    }
    match nice {
        Some(nice) => text.push_str(&format!("exec nice -n {nice} \"$@\"")),
        None => text.push_str("exec \"$@\""),
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_shell_sets_the_limits_and_becomes_the_command() {
        let words = |limits: &Limits| wrap("/bin/echo".into(), vec!["a b".to_owned()], limits);
        assert_eq!(words(&Limits::default()), ("/bin/echo".into(), vec!["a b".to_owned()]));
        let limits = Limits {
            memory: Some(1 << 30),
            processes: Some(50),
            file_size: Some(1 << 20),
            cpu_time: Some(Duration::from_secs(90)),
            nice: Some(5),
        };
        let (program, arguments) = words(&limits);
        assert_eq!(program, PathBuf::from("/bin/sh"));
        assert_eq!(&arguments[2..], ["sh", "/bin/echo", "a b"]);
        for piece in
            ["ulimit -v 1048576 ", "ulimit -u 50 ", "ulimit -f 2048 ", "ulimit -t 90 ", "exec nice -n 5 \"$@\""]
        {
            assert!(arguments[1].contains(piece), "{piece} is not in {}", arguments[1]);
        }
    }
}
