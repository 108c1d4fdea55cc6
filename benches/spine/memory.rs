//! What `gristmill serve` with the smallest example holds in memory when nothing happens.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::soon;
use super::world::Origin;

/// For how long the journal must have been silent.
const SILENCE: Duration = Duration::from_secs(5);
const PROGRAM: &str = env!("CARGO_BIN_EXE_gristmill");

pub(super) async fn print(folder: &Path) -> anyhow::Result<()> {
    let folder = folder.join("hello");
    std::fs::create_dir(&folder)?;
    let file = folder.join("gristmill.yaml");
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello/gristmill.yaml"), &file)?;
    Origin::make(&folder, "hello", &["main"])?;
    let mut serve = Command::new(PROGRAM)
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .args([folder.join("data"), file])
        .env("NO_COLOR", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let output = serve.stdout.take().context("its output is a pipe")?;
    let address = soon("the address", address(output)).await??;
    let id = serve.id().context("it runs")?;
    silence(&address).await?;
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok()).unwrap_or(f64::NAN)
    };
    let (whole, own, file) = (kib("VmRSS") / 1024.0, kib("RssAnon") / 1024.0, kib("RssFile") / 1024.0);
    println!("\n{:<62} {whole:>8.1} MiB", "`gristmill serve` with examples/hello, at rest");
    println!("{:<62} {own:>8.1} MiB", "  of it its own, the rest being the program's file");
    println!("{:<62} {file:>8.1} MiB", "  of it the program's file");
    let size = std::fs::metadata(PROGRAM)?.len() as f64 / 1024.0 / 1024.0;
    println!("{:<62} {size:>8.1} MiB", "the program's file on the disk");
    serve.kill().await?;
    Ok(())
}

/// Reads the address from what it says first, and lets it say the rest to nobody.
async fn address(output: tokio::process::ChildStdout) -> anyhow::Result<String> {
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(address) = line.split_whitespace().find(|word| word.starts_with("http://")) {
            let address = address.to_owned();
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(address);
        }
    }
    anyhow::bail!("it ended before it said where it listens")
}

/// Waits until the repository was seen and the journal has not grown for a while.
async fn silence(address: &str) -> anyhow::Result<()> {
    let http = reqwest::Client::new();
    let status = || async {
        let answer = http.get(format!("{address}/api/v1/status")).send().await?.error_for_status()?;
        anyhow::Ok(answer.json::<Value>().await?)
    };
    let mut before = Value::Null;
    loop {
        let now = status().await?;
        if now["sources"][0]["seen"] == true && now["head"] == before {
            return Ok(());
        }
        before = now["head"].clone();
        tokio::time::sleep(SILENCE).await;
    }
}
