//! Providers: where workers come from that exist only while they are needed.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use gristmill_model::{PoolName, Provider, ProviderKind};

use super::Resolver;
use super::names::short;
use crate::config::code;
use crate::config::raw::RawProvider;
use crate::config::shape::Placed;

/// Workers of one provider.
const WORKERS: RangeInclusive<i64> = 0..=10_000;
/// Builds at once on one worker.
const SLOTS: RangeInclusive<i64> = 1..=1024;
/// Worker hours in a day.
const HOURS: RangeInclusive<i64> = 1..=240_000;
const IDLE_USUAL: Duration = Duration::from_secs(600);
const START_USUAL: Duration = Duration::from_secs(300);
/// The shortest time in which a worker can be expected to join.
const START_MIN: Duration = Duration::from_secs(10);

impl Resolver<'_> {
    pub(super) fn providers(&mut self) -> BTreeMap<PoolName, Provider> {
        let raw = self.raw;
        let providers = raw.providers.iter().flat_map(|providers| providers.iter());
        providers.filter_map(|(name, raw)| Some((PoolName(name.value.clone()), self.provider(raw?)?))).collect()
    }

    fn provider(&mut self, raw: &RawProvider) -> Option<Provider> {
        let kind = self.provider_kind(raw);
        let slots = raw.slots.as_ref().map_or(Some(1), |slots| self.whole(slots, &SLOTS));
        let min = raw.min.as_ref().map_or(Some(0), |min| self.whole(min, &WORKERS));
        let max = raw.max.as_ref().and_then(|max| self.whole(max, &WORKERS));
        let hours_max = raw.hours.as_ref().map(|hours| self.whole(hours, &HOURS));
        let start = raw.start.as_ref().map_or(Some(START_USUAL), |start| self.at_least(start, START_MIN, "10s"));
        let labels = raw.labels.iter().flat_map(|labels| labels.iter());
        Some(Provider {
            kind: kind?,
            labels: labels.filter_map(|(name, value)| Some((name.value.clone(), value?.0.clone()))).collect(),
            slots: slots?,
            min: min?,
            max: max?,
            idle: raw.idle.as_ref().map_or(IDLE_USUAL, |idle| idle.value.0),
            start: start?,
            hours_max: match hours_max {
                Some(hours) => Some(hours?),
                None => None,
            },
        })
    }

    fn provider_kind(&mut self, raw: &RawProvider) -> Option<ProviderKind> {
        if let (Some(_), Some(image)) = (&raw.exec, &raw.image) {
            let (message, help) = ("`exec` and `image` exclude each other", "say how a worker is started in one way");
            self.report.say(code::EXCLUDING_KEYS, image.span, message, "this key", help);
            return None;
        }
        if let Some(exec) = &raw.exec {
            let command: Vec<String> = exec.0.iter().filter_map(|word| self.line(word)).collect();
            if command.is_empty() {
                self.report.say(code::EMPTY, raw.span(), "a provider without a program", "in this map", "name one");
                return None;
            }
            return Some(ProviderKind::Exec { command });
        }
        let Some(image) = &raw.image else { return Some(ProviderKind::Process) };
        let engine = raw.engine.as_ref().map_or(Some("docker".to_owned()), |engine| {
            if ["docker", "podman"].contains(&engine.as_str()) {
                return Some(engine.to_string());
            }
            let message = format!("`{}` is no program that runs containers", short(engine));
            self.report.say(code::UNKNOWN_WORD, engine.span, message, "this word", "write `docker` or `podman`");
            None
        });
        Some(ProviderKind::Container { engine: engine?, image: self.line(image)? })
    }
}
