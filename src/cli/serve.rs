//! `gristmill serve`: the service, told line by line, until a signal ends it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use gristmill_model::{Catalog, NotifierKind};

use super::args::{DEFAULT_FILE, DEFAULT_LISTEN, ServeArgs};
use super::check;
use super::exit::{Exit, Failure};
use super::narrate::{Detail, Narrator, count};
use super::run::Context;
use super::tell::{Journal, Teller, Voice};
use super::terminal::{Ink, clean};
use crate::chain::chain;
use crate::demo::{self, DemoOptions};
use crate::service::{Options, Service, ServiceError};

/// The folder for everything that is kept, beside the configuration.
pub(crate) const DATA_FOLDER: &str = "gristmill-data";

pub(crate) async fn run(context: &Context, args: ServeArgs) -> Result<Exit, Failure> {
    if args.demo {
        let options = DemoOptions {
            listen: args.listen,
            keep: args.keep,
            exit_when_done: args.exit_when_done,
            look: context.look,
            json: context.global.json,
        };
        demo::run(options, signal()?).await.map_err(|error| Failure::broken(chain(&error)))?;
        return Ok(Exit::Done);
    }
    let file = args.file.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    if !file.exists() {
        return Err(Failure::new(Exit::Invalid, format!("there is no {}", file.display()))
            .hint("`gristmill init` writes one for a repository, `gristmill serve --demo` shows it without"));
    }
    let catalog = check::load(context, &file)?.catalog;
    let listen = listen(&args, &catalog)?;
    let data = args.data.clone().unwrap_or_else(|| file.parent().unwrap_or(Path::new("")).join(DATA_FOLDER));
    // Before the start: a signal that comes meanwhile ends it in order, too.
    let signal = signal()?;
    let options = Options {
        worker: !args.no_worker,
        database: args.database.clone(),
        advertise: args.advertise.clone(),
        logs: args.logs.clone(),
        forget_logs: args.forget_logs,
        ..Options::new(file.clone(), data.clone(), listen)
    };
    let service = Service::start(options).await.map_err(|error| not_started(&error))?;
    header(context, &catalog, &data, service.address())?;
    let teller = (!context.global.quiet).then(|| {
        let detail = if context.global.verbose > 0 { Detail::More } else { Detail::Usual };
        let head = service.head();
        let from = *head.borrow();
        let journal = Journal { reader: service.reader().clone(), head, from };
        let narrator = Narrator::new(context.look, detail);
        Teller::start(journal, Voice { narrator, json: context.global.json, aside: None })
    });
    signal.await;
    if let Some(teller) = &teller {
        teller.remark("  stopping; a second Ctrl-C ends at once").await;
    }
    tokio::select! {
        () = service.stop() => {}
        () = self::signal()? => return Ok(Exit::Detached),
    }
    if let Some(teller) = teller {
        teller.stop().await;
    }
    Ok(Exit::Done)
}

fn not_started(error: &ServiceError) -> Failure {
    let exit = match error {
        ServiceError::Config(_) => Exit::Invalid,
        _ => Exit::Broken,
    };
    Failure::new(exit, chain(error))
}

/// Gives the address to listen on: the flag's, the file's, or the usual one.
fn listen(args: &ServeArgs, catalog: &Catalog) -> Result<SocketAddr, Failure> {
    if let Some(listen) = args.listen {
        return Ok(listen);
    }
    let listen = catalog.settings.listen.as_deref().unwrap_or(DEFAULT_LISTEN);
    listen.parse().map_err(|error| {
        Failure::new(Exit::Invalid, format!("cannot listen on `{}`: {error}", clean(listen)))
            .hint("an address is a number and a port, such as 127.0.0.1:8020 or 0.0.0.0:8020")
    })
}

/// Waits for what asks the process to end: SIGINT or SIGTERM. Listening begins at once.
fn signal() -> Result<impl Future<Output = ()>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn header(context: &Context, catalog: &Catalog, data: &Path, address: SocketAddr) -> Result<(), Failure> {
    if context.global.json {
        return Ok(());
    }
    let look = context.look;
    let name = look.paint(Ink::Bold, concat!("Gristmill ", env!("CARGO_PKG_VERSION")));
    let link = look.paint(Ink::Blue, &format!("http://{address}"));
    context.say(&format!("  {name}   catalog {}   data {}   {link}", catalog.hash.short(), data.display()))?;
    for (title, what) in parts(catalog) {
        context.say(&format!("  {title:<13}{what}"))?;
    }
    if !address.ip().is_loopback() && catalog.settings.token.is_none() {
        let sign = look.sign("warnings");
        context.result(&format!(
            "  {sign} it can be seen from other machines, and has no token: nobody can change anything"
        ))?;
        context.result("    to allow it, name a secret under `gristmill: {token: …}` in the configuration")?;
    }
    context.say(&look.paint(Ink::Dim, "  times are UTC; Ctrl-C ends it"))
}

/// Says what the configuration connects.
fn parts(catalog: &Catalog) -> Vec<(&'static str, String)> {
    let join = |names: Vec<String>| names.join("   ");
    let sources =
        catalog.repositories.iter().map(|(name, repository)| format!("{name} {}", without_login(&repository.url)));
    let mut parts = vec![("sources", join(sources.collect()))];
    let schedulers = catalog.schedulers.iter().map(|(name, scheduler)| format!("{name} ({})", scheduler.kind.as_str()));
    parts.push(("schedulers", join(schedulers.collect())));
    if !catalog.routes.is_empty() {
        let ways = catalog.notifiers.iter().map(|(name, kind)| match kind {
            NotifierKind::Mail(mail) => format!("{name} {}", without_login(&mail.smtp)),
            NotifierKind::Irc(irc) => format!("{name} {} {}", irc.server, irc.channels.join(" ")),
        });
        parts.push(("routes", format!("{}: {}", count(catalog.routes.len(), "route"), join(ways.collect()))));
    }
    parts
}

/// Leaves out the user name and password that an address may hold.
fn without_login(url: &str) -> String {
    let shown = match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            format!("{scheme}://{host}{path}")
        }
        None => url.to_owned(),
    };
    clean(&shown).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_without_passwords() {
        for (url, shown) in [
            ("https://ci:s3cret@git.example.org/lib.git", "https://git.example.org/lib.git"),
            ("https://git.example.org/a@b.git", "https://git.example.org/a@b.git"),
            ("git@example.org:lib.git", "git@example.org:lib.git"),
            ("/srv/git/lib.git", "/srv/git/lib.git"),
        ] {
            assert_eq!(without_login(url), shown);
        }
    }

    #[test]
    fn the_flag_wins_over_the_file_over_the_default() {
        let mut catalog = Catalog::default();
        let mut args = ServeArgs::default();
        assert_eq!(listen(&args, &catalog).unwrap().to_string(), DEFAULT_LISTEN);
        catalog.settings.listen = Some("0.0.0.0:9".to_owned());
        assert_eq!(listen(&args, &catalog).unwrap().port(), 9);
        args.listen = Some("127.0.0.1:7".parse().unwrap());
        assert_eq!(listen(&args, &catalog).unwrap().port(), 7);
        catalog.settings.listen = Some("everywhere".to_owned());
        assert_eq!(listen(&ServeArgs::default(), &catalog).unwrap_err().exit, Exit::Invalid);
    }
}
