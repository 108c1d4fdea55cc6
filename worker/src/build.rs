//! Runs one build order, from its first step to its end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gristmill_model::protocol::{BuildOrder, ReportBody};
use gristmill_model::step::limit::ARTIFACTS_MAX;
use gristmill_model::{
    Cause, CheckoutMethod, Command, Outcome, SchedulerName, StepAction, StepRecipe, Timeouts, WorkerName,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::artifacts::gather::gather;
use crate::artifacts::upload::{UploadError, Uploaded, upload};
use crate::checkout::{Git, Mirrors, checkout};
use crate::conclude::{Conclusion, StepResult, conclude, cut, one_line, say};
use crate::controls::Controls;
use crate::environment;
use crate::executor::sweep::{Marked, last_pid, sweep};
use crate::executor::{Apart, Executor, ExecutorError, StepEnd, StepOrder};
use crate::lease::{self, Heard};
use crate::secrets::{self, Masker, NoSecrets};
use crate::spool::Outbox;
use crate::steps::follow::{Followed, follow};
use crate::steps::{self, Scratch, Work};
use crate::workspace::{PathError, Workspace, Workspaces, folder_for_step};
use crate::{LogWriter, Master};

/// How long a step may take that runs because it always does, in a build that somebody has cancelled.
const AFTER_CANCEL_MAX: Duration = Duration::from_secs(5 * 60);

/// A build that is older than this may have seen the system's process ids begin again.
const PIDS_ASCEND_FOR: Duration = Duration::from_secs(1);

/// Bytes of a command that its log's heading shows.
const HEADING_BYTES_MAX: usize = 4096;

/// What all builds of a worker share.
pub(crate) struct Shared {
    pub(crate) executor: Arc<dyn Executor>,
    /// Asked for what a step needs and no order says.
    pub(crate) master: Arc<dyn Master>,
    /// The worker's name.
    pub(crate) worker: WorkerName,
    pub(crate) workspaces: Workspaces,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) log_bytes_max: u64,
    pub(crate) disk_bytes_min: u64,
    /// The worker's own folder.
    pub(crate) data: PathBuf,
    /// Marks this worker's processes.
    pub(crate) token: String,
    /// When the service was heard last.
    pub(crate) heard: Arc<Heard>,
    /// Mirrors of origins that are far away, if they are kept.
    pub(crate) mirrors: Option<Arc<Mirrors>>,
}

/// Runs a build, and says everything about it, up to its end; unless it is told that nobody wants to hear it.
pub(crate) async fn run(shared: Arc<Shared>, order: BuildOrder, controls: Arc<Controls>, outbox: Outbox) {
    let mut build = Build {
        lease: format!("{}-{}-{}", shared.token, order.build, order.epoch),
        shared: &shared,
        order: &order,
        controls: &controls,
        outbox,
        pending: vec![ReportBody::Started],
        results: Vec::new(),
        artifacts: 0,
        outputs: BTreeMap::new(),
        log: None,
        workspace: None,
        processes: None,
        is_after_cancel: false,
        is_confirmed: false,
    };
    build.run_steps().await;
    build.finish().await;
}

/// The log of the step that ended last: open, because what is left behind may have to be remarked.
struct OpenLog {
    writer: LogWriter,
    is_silent_success: bool,
}

/// When the first process of a build may have been started.
struct Processes {
    since: Instant,
    from: Option<i32>,
}

/// A build under way.
struct Build<'a> {
    shared: &'a Shared,
    order: &'a BuildOrder,
    controls: &'a Controls,
    outbox: Outbox,
    lease: String,
    /// Reports that go up together with the next one.
    pending: Vec<ReportBody>,
    /// The steps that ran, by their numbers.
    results: Vec<(usize, StepResult)>,
    /// How many files are kept of them.
    artifacts: usize,
    /// What they gave out for later ones.
    outputs: BTreeMap<String, String>,
    log: Option<OpenLog>,
    /// Taken by the first step that needs it.
    workspace: Option<Workspace>,
    processes: Option<Processes>,
    /// Whether the step that runs began after the build was cancelled.
    is_after_cancel: bool,
    /// Whether the service has acknowledged that this worker began.
    is_confirmed: bool,
}

impl Build<'_> {
    async fn run_steps(&mut self) {
        let order = self.order;
        let mut is_halted = false;
        for (index, step) in order.recipe.steps.iter().enumerate() {
            // Looked at once: a wish that comes after this ends the step.
            self.is_after_cancel = self.controls.cancelled_by().is_some();
            is_halted |= self.is_after_cancel;
            if !steps::considers(step, is_halted, self.is_after_cancel) {
                continue;
            }
            self.look_at_lease();
            if self.controls.at_once.is_cancelled() {
                return;
            }
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            self.pending.push(ReportBody::StepStarted { step: number });
            self.send_pending().await;
            let result = match steps::unmet(step, order, &self.outputs, self.conclude().outcome) {
                Some(why) => StepResult::skipped(why),
                None if self.confirm().await => self.run_step(number, step).await,
                None => self.stopped(),
            };
            let StepResult { outcome, cause, summary, warnings, .. } = result.clone();
            is_halted |= step.rules.effect_of(outcome).1;
            self.pending.push(ReportBody::StepFinished { step: number, outcome, cause, summary, warnings });
            self.results.push((index, result));
        }
    }

    /// Ends the build if its lease is over, which whoever keeps the time may not have noticed yet.
    fn look_at_lease(&self) {
        if let Some(window) = self.controls.window
            && self.shared.heard.is_over(window)
        {
            self.controls.lose(&lease::silence(window));
        }
    }

    /// Waits until the service has acknowledged that the build began here, so that no step runs under a lease that is
    /// gone; false if the build is to end before.
    async fn confirm(&mut self) -> bool {
        if self.is_confirmed {
            return true;
        }
        self.is_confirmed = tokio::select! {
            biased;
            () = self.outbox.acknowledged(1) => true,
            () = self.controls.ended() => false,
        };
        self.is_confirmed
    }

    /// Says what it means that a step was stopped from outside.
    fn stopped(&self) -> StepResult {
        match (self.controls.cancelled_by(), self.controls.lost()) {
            (Some(by), _) => StepResult::cancelled(by),
            (None, Some(why)) => StepResult::broken(why),
            (None, None) => StepResult::cancelled("the worker"),
        }
    }

    /// Sends what waits, after the log that belongs to it.
    async fn send_pending(&mut self) {
        if let Some(OpenLog { mut writer, is_silent_success }) = self.log.take() {
            writer.finish(is_silent_success).await;
        }
        self.outbox.report(std::mem::take(&mut self.pending));
    }

    async fn finish(mut self) {
        if let Some(remark) = self.sweep().await
            && let Some(log) = &mut self.log
        {
            log.writer.remark(&remark);
        }
        // The next build of this builder may have the folder before the service has heard of this one's end.
        self.workspace = None;
        if !self.controls.silent.is_cancelled() {
            let Conclusion { outcome, cause, summary } = self.conclude();
            self.pending.push(ReportBody::Finished { outcome, cause, summary });
            self.send_pending().await;
        }
    }

    fn conclude(&self) -> Conclusion {
        if let Some(by) = self.controls.cancelled_by() {
            let StepResult { outcome, cause, summary, .. } = StepResult::cancelled(by);
            return Conclusion { outcome, cause, summary };
        }
        if let Some(why) = self.controls.lost() {
            let (outcome, cause) = (Outcome::Retry, Some(Cause::Infrastructure));
            return Conclusion { outcome, cause, summary: cut(why.to_owned()) };
        }
        let step = |index: usize| &self.order.recipe.steps[index];
        conclude(self.results.iter().map(|(index, result)| (step(*index).name.as_str(), &step(*index).rules, result)))
    }

    /// Kills what the build's processes left behind, and says what that was.
    async fn sweep(&self) -> Option<String> {
        let Processes { since, from } = self.processes.as_ref()?;
        let from =
            from.filter(|from| since.elapsed() < PIDS_ASCEND_FOR && last_pid().is_some_and(|last| last >= *from));
        let marked = Marked::Lease(self.lease.clone());
        let count = tokio::task::spawn_blocking(move || sweep(&marked, from)).await.unwrap_or_default();
        match count {
            0 => None,
            1 => Some("1 process was left behind: killed".to_owned()),
            _ => Some(format!("{count} processes were left behind: killed")),
        }
    }

    async fn run_step(&mut self, number: u32, step: &StepRecipe) -> StepResult {
        match &step.action {
            StepAction::Checkout { method } => self.check_out(number, step, *method).await,
            StepAction::Run { command } => self.run_command(number, step, command).await,
            StepAction::Trigger { scheduler, wait, .. } => self.trigger(number, scheduler, *wait).await,
        }
    }

    async fn check_out(&mut self, number: u32, step: &StepRecipe, method: CheckoutMethod) -> StepResult {
        let mut log = self.begin_log(number, "");
        let root = match self.folder() {
            Ok(root) => root,
            Err(error) => return self.end_log(log, path_trouble(&error)),
        };
        self.note_processes();
        let mut git = Git::new(
            self.shared.executor.as_ref(),
            self.controls.stop(self.is_after_cancel),
            self.environment(step),
            self.timeouts(step),
            &self.shared.data,
            self.shared.mirrors.clone(),
        );
        let result = match checkout(self.order, method, &root, &mut git, &mut log).await {
            Ok(summary) => StepResult::success(summary),
            Err(error) if error.is_stop() => self.stopped(),
            Err(error) => {
                let mut result = error.into_result();
                if result.again && is_full(&root, self.shared.disk_bytes_min) {
                    result.summary = cut(format!("{}; the disk is full", result.summary));
                }
                result
            }
        };
        self.end_log(log, result)
    }

    async fn run_command(&mut self, number: u32, step: &StepRecipe, command: &Command) -> StepResult {
        let mut log = self.begin_log(number, &heading(command));
        let placed = self.folder().and_then(|root| folder_for_step(&root, &step.folder).map(|folder| (root, folder)));
        let (workspace, folder) = match placed {
            Ok(placed) => placed,
            Err(error) => return self.end_log(log, path_trouble(&error)),
        };
        self.note_processes();
        let (work, environment) = match self.begin_work(number, step, &folder).await {
            Ok(begun) => begun,
            Err(result) => return self.end_log(log, result),
        };
        let apart = self.apart(&work, &workspace, &environment);
        let (command, timeouts) = (command.clone(), self.timeouts(step));
        let step_order = StepOrder { command, folder, environment, timeouts, limits: step.limits, apart };
        log.look_through(work.lens(&step.warnings));
        let (followed, over) = (self.followed(number, step, &work), CancellationToken::new());
        let run = async {
            let stop = self.controls.stop(self.is_after_cancel);
            let end = self.shared.executor.run(&step_order, &mut log, &stop).await;
            over.cancel();
            end
        };
        let (end, ()) = tokio::join!(run, follow(followed, over.clone()));
        let result = match end {
            Ok(StepEnd::Stopped) => self.stopped(),
            Ok(end) => {
                let result = StepResult::of_run(&step.name, &step.rules, &end);
                if result.outcome == Outcome::Failure
                    && result.cause != Some(Cause::Limit)
                    && is_full(&step_order.folder, self.shared.disk_bytes_min)
                {
                    StepResult::broken(format!("{}; the disk is full", result.summary))
                } else {
                    result
                }
            }
            Err(error) => spawn_trouble(&error, step),
        };
        let result = self.collect(work, result, &mut log).await;
        if result.outcome != Outcome::Cancelled {
            self.keep_files(number, step, &step_order.folder, &mut log).await;
        }
        self.end_log(log, result)
    }

    /// Makes what the step needs besides its workspace, and the environment that says where it is.
    async fn begin_work(
        &mut self,
        number: u32,
        step: &StepRecipe,
        folder: &Path,
    ) -> Result<(Work, BTreeMap<String, String>), StepResult> {
        let failed = |error: std::io::Error| StepResult::broken(format!("cannot make the step's own folder: {error}"));
        let recipe = &self.order.recipe;
        let scratch = match Work::needs_scratch(step, recipe) {
            true => Some(Scratch::make(&self.shared.data, &self.lease, number).map_err(failed)?),
            false => None,
        };
        let secrets = self.secrets(number).await?;
        let variables =
            secrets::place(&secrets, &recipe.secrets, scratch.as_ref().map(Scratch::path)).map_err(failed)?;
        let masker = Masker::new(secrets.values().map(String::as_str));
        let work = Work::begin(step.clone(), number, folder.to_owned(), scratch, masker);
        let mut environment = self.environment(step);
        environment.extend(environment::of_outputs(&self.outputs));
        environment.extend(work.environment().map_err(failed)?);
        environment.extend(variables);
        Ok((work, environment))
    }

    /// Asks for the step's secrets; none if the builder has none.
    async fn secrets(&self, number: u32) -> Result<BTreeMap<String, String>, StepResult> {
        let wanted = &self.order.recipe.secrets;
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let of = (self.order.build, self.order.epoch, number);
        let stop = self.controls.stop(self.is_after_cancel);
        let answer = tokio::select! {
            biased;
            () = stop.asked.cancelled() => return Err(self.stopped()),
            answer = secrets::ask(self.shared.master.as_ref(), &self.shared.worker, of, wanted) => answer,
        };
        answer.map_err(|problem| match problem {
            NoSecrets::Denied(why) => StepResult::refused(one_line(&why)),
            NoSecrets::Fenced => StepResult::broken("the lease is gone"),
        })
    }

    /// Says how a command is kept apart.
    fn apart(&self, work: &Work, workspace: &Path, environment: &BTreeMap<String, String>) -> Apart {
        let is_native = |name: &&String| environment.get(*name) == self.shared.environment.get(*name);
        Apart {
            isolation: self.order.recipe.isolation.clone(),
            workspace: workspace.to_owned(),
            scratch: work.scratch().map(Path::to_owned),
            data: self.shared.data.clone(),
            secret: self.order.recipe.secrets.keys().cloned().collect(),
            native: self.shared.environment.keys().filter(is_native).cloned().collect(),
        }
    }

    /// Brings the files that are kept of a step to the service.
    async fn keep_files(&mut self, number: u32, step: &StepRecipe, folder: &Path, log: &mut LogWriter) {
        if step.artifacts.is_empty() {
            return;
        }
        let (root, patterns) = (folder.to_owned(), step.artifacts.clone());
        let left = ARTIFACTS_MAX - self.artifacts;
        let gathered = tokio::task::spawn_blocking(move || gather(&root, &patterns, left)).await.unwrap_or_default();
        gathered.remarks.iter().for_each(|remark| log.remark(remark));
        if gathered.files.is_empty() {
            log.remark(&format!("no file matches {}", step.artifacts.join(", ")));
        }
        let (master, stop) = (Arc::clone(&self.shared.master), self.controls.stop(self.is_after_cancel));
        for path in gathered.files {
            let of = (self.order.build, self.order.epoch);
            let uploaded = tokio::select! {
                biased;
                () = stop.asked.cancelled() => return,
                uploaded = upload(master.as_ref(), &self.shared.worker, of, folder, &path) => uploaded,
            };
            match uploaded {
                Ok(Uploaded { bytes, digest }) => {
                    self.artifacts += 1;
                    self.pending.push(ReportBody::ArtifactStored { step: number, path, bytes, digest });
                }
                Err(UploadError::Fenced) => return,
                Err(error) => log.remark(&format!("{path} is not kept: {}", say(&error))),
            }
        }
    }

    fn followed(&self, number: u32, step: &StepRecipe, work: &Work) -> Vec<Followed> {
        let begin = |(path, log): (&String, u32)| {
            let mut log =
                LogWriter::begin(self.outbox.clone(), number, self.shared.log_bytes_max, "", Instant::now()).of(log);
            log.look_through(work.lens(&[]));
            Followed::begin(work.folder(), path, log)
        };
        step.logs.values().zip(StepRecipe::OUTPUT_LOG + 1..).map(begin).collect()
    }

    /// Takes what the command left, and says what that makes of its result.
    async fn collect(&mut self, work: Work, result: StepResult, log: &mut LogWriter) -> StepResult {
        let warnings = log.warnings();
        if result.outcome == Outcome::Cancelled {
            return result;
        }
        let collected = match tokio::task::spawn_blocking(move || work.collect()).await {
            Ok(collected) => collected,
            Err(error) => return StepResult::broken(format!("cannot collect what the step left: {error}")),
        };
        collected.remarks.iter().for_each(|remark| log.remark(remark));
        let result = collected.amend(result, warnings);
        self.pending.extend(collected.reports);
        self.outputs.extend(collected.outputs);
        result
    }

    async fn trigger(&mut self, number: u32, scheduler: &SchedulerName, wait: bool) -> StepResult {
        if wait {
            self.controls.expect_resume(number);
        }
        self.pending.push(ReportBody::TriggerReached { step: number });
        self.send_pending().await;
        if !wait {
            return StepResult::success(format!("triggered {scheduler}"));
        }
        let stop = self.controls.stop(self.is_after_cancel);
        tokio::select! {
            biased;
            () = stop.asked.cancelled() => self.stopped(),
            (outcome, summary) = self.controls.resumed() => StepResult::of_trigger(outcome, &summary),
        }
    }

    fn begin_log(&self, number: u32, heading: &str) -> LogWriter {
        LogWriter::begin(self.outbox.clone(), number, self.shared.log_bytes_max, heading, Instant::now())
    }

    /// Keeps the log for the next [`Self::send_pending`]. What kept a step from running, or from going on, is said in its
    /// log, too.
    fn end_log(&mut self, mut writer: LogWriter, result: StepResult) -> StepResult {
        if matches!(result.outcome, Outcome::Exception | Outcome::Cancelled) {
            writer.remark(&result.summary);
        }
        self.log = Some(OpenLog { writer, is_silent_success: result.outcome == Outcome::Success });
        result
    }

    fn folder(&mut self) -> Result<PathBuf, PathError> {
        if let Some(workspace) = &self.workspace {
            return Ok(workspace.folder.clone());
        }
        let failed = |source| PathError::Io { path: ".".to_owned(), source };
        let workspace = self.shared.workspaces.take(&self.order.builder).map_err(failed)?;
        let folder = workspace.folder.clone();
        self.workspace = Some(workspace);
        Ok(folder)
    }

    fn note_processes(&mut self) {
        if self.processes.is_none() {
            self.processes = Some(Processes { since: Instant::now(), from: last_pid() });
        }
    }

    fn environment(&self, step: &StepRecipe) -> BTreeMap<String, String> {
        environment::of_step(&self.shared.environment, self.order, step, &self.lease)
    }

    fn timeouts(&self, step: &StepRecipe) -> Timeouts {
        let mut timeouts = step.timeouts;
        if self.is_after_cancel {
            timeouts.total = timeouts.total.min(AFTER_CANCEL_MAX);
        }
        timeouts
    }
}

fn path_trouble(error: &PathError) -> StepResult {
    if error.is_transient() { StepResult::broken(say(error)) } else { StepResult::refused(say(error)) }
}

/// Says what it means that a step could not be started. A program that is not there is the recipe's fault, as it would be
/// in a script, where the shell ends with the same codes.
fn spawn_trouble(error: &ExecutorError, step: &StepRecipe) -> StepResult {
    let as_shell = |code| StepResult {
        summary: say(error),
        ..StepResult::of_run(&step.name, &step.rules, &StepEnd::Exited { code })
    };
    match error {
        ExecutorError::NotFound { .. } => as_shell(127),
        ExecutorError::NotExecutable { .. } => as_shell(126),
        ExecutorError::Empty | ExecutorError::TooLong { .. } => StepResult::refused(say(error)),
        ExecutorError::Spawn { .. } => StepResult::broken(say(error)),
    }
}

/// Says whether the disk below a folder is full: then a failure says nothing about the code.
fn is_full(folder: &Path, bytes_min: u64) -> bool {
    nix::sys::statvfs::statvfs(folder).is_ok_and(|disk| {
        let free = disk.blocks_available().saturating_mul(disk.fragment_size());
        free < bytes_min || (disk.files() > 0 && disk.files_available() == 0)
    })
}

/// Shows a command as somebody would type it.
fn heading(command: &Command) -> String {
    let mut heading = match command {
        Command::Script(text) => {
            let mut lines = String::new();
            for (index, line) in text.trim().lines().enumerate() {
                lines.push_str(if index == 0 { "$ " } else { "> " });
                lines.push_str(&one_line(line));
                lines.push('\n');
            }
            lines
        }
        Command::Arguments(words) => {
            let words: Vec<String> = words.iter().map(|word| quote(&one_line(word))).collect();
            format!("$ {}\n", words.join(" "))
        }
    };
    if heading.len() > HEADING_BYTES_MAX {
        heading.truncate(heading.floor_char_boundary(HEADING_BYTES_MAX));
        heading.push_str("…\n");
    }
    heading
}

/// Quotes a word where a shell would take it for something else.
fn quote(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_they_would_be_typed() {
        assert_eq!(heading(&Command::Script("make check\n".into())), "$ make check\n");
        assert_eq!(heading(&Command::Script("set -x\nmake".into())), "$ set -x\n> make\n");
        let words = ["make", "-C", "my app", "it's", ""].map(str::to_owned).to_vec();
        assert_eq!(heading(&Command::Arguments(words)), "$ make -C 'my app' 'it'\\''s' ''\n");
        assert!(heading(&Command::Script("x".repeat(9000))).len() < HEADING_BYTES_MAX + 10);
    }
}
