//! Reads a file from top to bottom: what holds at a line, and what the line adds to it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use super::assignment::Assignment;
use super::derived::Identity;
use super::environment::Environment;
use super::header::{Header, is_login};
use super::interned::Schedules;
use super::lines::{is_blank, lines, word};
use super::lookalikes::{self, Seen};
use super::options::{self, List};
use super::report::{Report, quoted};
use super::settings::{self, Settings};
use super::shell::leaves_something_behind;
use super::useless::useless;
use super::variables::{check_shell, elsewhere, without_effect};
use super::zones::Known;
use crate::common::model::{ClusterName, JobName};
use crate::common::zones::Zones;
use crate::producer::job::Job;
use crate::producer::schedule::odd_steps;
use crate::producer::zone::Zone;

/// What has been read so far.
pub(super) struct Reader<'c> {
    clusters: &'c [ClusterName],
    zone: Zone,
    zones: Known<'c>,
    /// Whether a line has set the zone.
    zoned: bool,
    /// The first of the lines before this one that end with a `\`, without one between them that does not.
    continued: Option<usize>,
    environment: Environment,
    pub(super) schedules: Schedules,
    /// The lines of the names.
    names: HashMap<JobName, usize>,
    pub(super) jobs: Vec<Arc<Job>>,
    pub(super) report: Report,
}

/// What the options and the command of a line are, as far as it could be told.
struct Body<'a> {
    options: Vec<(&'a str, &'a str)>,
    settings: Settings,
    command: Option<&'a str>,
}

impl<'c> Reader<'c> {
    pub(super) fn new(file: &str, clusters: &'c [ClusterName], zones: &'c Zones) -> Self {
        Self {
            clusters,
            zone: Zone::utc(),
            zones: Known::new(zones),
            zoned: false,
            continued: None,
            environment: Environment::default(),
            schedules: Schedules::default(),
            names: HashMap::new(),
            jobs: Vec::new(),
            report: Report::new(file),
        }
    }

    /// Reads the lines of a file, until it has too many problems to list.
    pub(super) fn read(&mut self, content: &[u8]) {
        for (number, line) in lines(content) {
            match line {
                Ok(line) => self.line(number, line),
                Err(what) => self.report.problem(number, &what),
            }
            if self.report.is_full() {
                return;
            }
        }
    }

    fn line(&mut self, number: usize, line: &str) {
        let continued = self.continued.take();
        let text = line.trim_start_matches(is_blank);
        if text.is_empty() || text.starts_with('#') {
            return;
        }
        if text.trim_end_matches(is_blank).ends_with('\\') {
            self.continued = continued.or(Some(number));
        }
        let mut wrong = Vec::new();
        let seen = Seen::of(line);
        let is_job = seen.as_ref().is_some_and(|seen| Assignment::read(&seen.text).is_none());
        match Assignment::read(text).filter(|_| !is_job) {
            Some(assignment) => {
                let read = match assignment.name {
                    "CRON_TZ" => self.zone_line(assignment),
                    _ => self.environment_line(number, line, assignment),
                };
                wrong.extend(read.err());
            }
            None => self.job_line(number, line, seen.as_ref(), &mut wrong),
        }
        if let (Some(first), Some(above)) = (wrong.first_mut(), continued) {
            first.push_str(&format!(
                "; a `\\` at the end of a line does not continue it, and line {above} has one"
            ));
        }
        for what in &wrong {
            self.report.problem(number, what);
        }
    }

    fn zone_line(&mut self, assignment: Assignment<'_>) -> Result<(), String> {
        self.zone = self.zones.get(assignment.setting()?).map_err(|error| error.to_string())?;
        self.zoned = true;
        Ok(())
    }

    fn environment_line(
        &mut self,
        number: usize,
        line: &str,
        assignment: Assignment<'_>,
    ) -> Result<(), String> {
        if let Some(what) = lookalikes::wrong(line, assignment.name).into_iter().next() {
            return Err(what);
        }
        assignment.check_name()?;
        if let Some(warning) = elsewhere(assignment.name) {
            // An empty one asks for no mail, which is what it gets; to crontab(5) it is no line for the environment.
            self.report.warning(number, warning);
            if assignment.is_bare_empty() {
                return Ok(());
            }
        }
        let value = assignment.value()?;
        if assignment.name == "SHELL" {
            check_shell(value.text)?;
        }
        let effect = without_effect(assignment.name, self.zoned);
        for warning in effect.into_iter().chain(value.warning) {
            self.report.warning(number, warning);
        }
        for warning in lookalikes::in_value(line, value.text) {
            self.report.warning(number, &warning);
        }
        self.environment.set(assignment.name, value.text)
    }

    /// Reads a job's line; what is wrong with it goes into `wrong`. Its head is read as it looks, so that a character that
    /// is mistaken for another one is told of, and not what comes of it.
    fn job_line(&mut self, number: usize, line: &str, seen: Option<&Seen<'_>>, wrong: &mut Vec<String>) {
        let text = seen.map_or(line, |seen| &seen.text).trim_start_matches(is_blank);
        if text.is_empty() || text.starts_with('#') {
            // It looks empty, or like a comment.
            return wrong.extend(lookalikes::wrong(line, seen.map_or("", |seen| seen.split(None).0)));
        }
        let header = Header::read(text, self.clusters);
        let (head, rest) = match seen {
            Some(seen) => seen.split(header.rest),
            None => ("", header.rest.unwrap_or("")),
        };
        wrong.extend(lookalikes::wrong(line, head));
        let mut rest = header.rest.map(|_| rest);
        if let (Some(as_seen), Some(text)) = (header.rest, rest)
            && options::is_list(as_seen)
            && !options::is_list(text)
        {
            let list = word(text).map_or(text, |(list, _)| list);
            wrong.extend(lookalikes::wrong(line, list));
            rest = Some(as_seen);
        }
        let is_as_seen = wrong.is_empty();
        let cluster = header.cluster.map_err(|what| wrong.push(what)).ok();
        let mut wrong_body = Vec::new();
        let body = self.body(number, rest, &mut wrong_body);
        if let Some(command) = body.command.filter(|_| is_as_seen) {
            for warning in lookalikes::in_command(line, command) {
                self.report.warning(number, &warning);
            }
        }
        let mut zone = body.settings.zone.clone().unwrap_or_else(|| self.zone.clone());
        let schedule = header.schedule.as_deref().and_then(|words| {
            let parsed = self.schedules.get(words, &zone);
            parsed.map_err(|error| wrong.push(error.to_string())).ok()
        });
        let mut jitter = body.settings.jitter;
        if let Some(schedule) = &schedule {
            for warning in useless(&body.options, &body.settings, schedule) {
                self.report.warning(number, warning);
            }
            for warning in odd_steps(header.schedule.as_deref().unwrap_or("")) {
                self.report.warning(number, &warning);
            }
            if schedule.is_reboot() {
                // Neither has an effect on it, so that neither may make it another job.
                (zone, jitter) = (Zone::utc(), Duration::ZERO);
            }
        }
        wrong.append(&mut wrong_body);
        let environment = self.environment.share().map_err(|what| wrong.push(what)).ok();
        let derived = match (header.schedule.as_deref(), cluster, body.command) {
            (Some(schedule), Some(cluster), Some(command)) if wrong.is_empty() => {
                let (user, cwd) = (body.settings.user.as_deref(), body.settings.cwd.as_deref());
                Some(Identity { schedule, zone: zone.name(), cluster, user, cwd, command })
            }
            _ => None,
        };
        let name =
            self.name(number, body.settings.name.clone(), derived).map_err(|what| wrong.push(what)).ok();
        let (Some(name), Some(cluster), Some(schedule)) = (name.flatten(), cluster, schedule) else { return };
        let (Some(command), Some(environment)) = (body.command, environment) else { return };
        if wrong.is_empty() {
            self.jobs.push(Arc::new(Job {
                name,
                cluster: cluster.clone(),
                schedule,
                window: body.settings.window,
                jitter,
                command: command.to_owned(),
                environment,
                cwd: body.settings.cwd,
                user: body.settings.user,
                limits: body.settings.limits,
                resources: body.settings.resources,
                retry: body.settings.retry,
                overlap: body.settings.overlap,
                catch_up: body.settings.catch_up,
            }));
        }
    }

    fn body<'a>(&mut self, number: usize, rest: Option<&'a str>, wrong: &mut Vec<String>) -> Body<'a> {
        let (list, command) = match rest.map(options::take) {
            None => (List::default(), None),
            Some(Ok((list, command))) => (list, Some(command)),
            Some(Err(what)) => {
                wrong.push(what);
                (List::default(), None)
            }
        };
        wrong.extend(list.wrong);
        let (settings, wrong_settings) = Settings::read(&list.options, &mut self.zones);
        if wrong_settings.is_empty() {
            for (word, value) in &list.options {
                if let Some(warning) = lookalikes::odd_in_option(word, value) {
                    self.report.warning(number, &warning);
                }
            }
        }
        wrong.extend(wrong_settings);
        if command.is_some_and(str::is_empty) {
            wrong.push("the command is missing (it ends the line)".to_owned());
        }
        for warning in command.into_iter().flat_map(odd) {
            self.report.warning(number, &warning);
        }
        Body { options: list.options, settings, command }
    }

    /// The job's name, which from now on is taken; `None` where the line is too broken to derive one.
    fn name(
        &mut self,
        number: usize,
        given: Option<JobName>,
        derived: Option<Identity<'_>>,
    ) -> Result<Option<JobName>, String> {
        let is_given = given.is_some();
        let Some(name) = given.or_else(|| derived.map(|identity| identity.name())) else { return Ok(None) };
        match self.names.entry(name.clone()) {
            Entry::Vacant(free) => {
                free.insert(number);
                Ok(Some(name))
            }
            Entry::Occupied(taken) if is_given => Err(format!(
                "the name {} is taken by line {} (names are unique in a file)",
                quoted(name.as_str()),
                taken.get()
            )),
            Entry::Occupied(taken) => Err(format!(
                "the job stands in line {} already (if both are meant, give them names, as in `[name=other]`)",
                taken.get()
            )),
        }
    }
}

/// What is legal in a command and probably not meant.
fn odd(command: &str) -> Vec<String> {
    let first = word(command).map_or("", |(first, _)| first);
    let mut odd = Vec::new();
    if command.contains("\\%") {
        odd.push("`\\%` is a `%` in crontab(5); here the shell gets both characters (write `%`)".to_owned());
    }
    if command.trim_end_matches(is_blank).ends_with('\\') {
        odd.push("a `\\` at the end of a line does not continue it (a job is one line)".to_owned());
    }
    if command.starts_with('#') {
        odd.push("the command is a comment to the shell, so that nothing is run".to_owned());
    }
    if options::looks_like_a_list(command, &settings::KNOWN) {
        odd.push(format!(
            "{} begins the command (an option list is a `[` directly followed by `word=value`)",
            quoted(first)
        ));
    }
    if let Some(option) = options::without_brackets(command) {
        odd.push(format!("`{option}=` begins the command (options stand in brackets: `[{option}=…]`)"));
    }
    if command.contains('&') && leaves_something_behind(command) {
        odd.push(
            "what `&` leaves in the background is ended together with the command (leave the `&` out, or end with \
             `wait`; `setsid` takes it out of the run)"
                .to_owned(),
        );
    }
    if is_login(first) {
        odd.push(format!("{0} begins the command (a user is an option: `[user={first}]`)", quoted(first)));
    }
    odd
}
