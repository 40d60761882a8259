//! The real programs on real Kafka: what the README promises, seen from outside.
//!
//! - `anew`: topics that are deleted and made again, or of which messages are deleted, under the programs.
//! - `ticks`: what is published and who runs it.
//! - `accounts`: that nothing is left out, as `cronctl verify` sees it.
//! - `retention`: what was deleted, and what is known of it all the same.
//! - `retries`: failing, coming back, being given up, being put back.
//! - `claims`: consumers that are frozen, cut off or killed while they have work.
//! - `endings`: how programs and commands end.
//! - `inherited`: signals and limits of whoever starts the programs.
//! - `leaders`: several producers, what was due while none ran, a changed job file.
//! - `outages`: Kafka away.
//! - `chaos`: programs and Kafka killed again and again, under load.
//! - `clocks`: wall clocks that jump, run fast, or are wrong.
//! - `packed`: topics whose messages the broker packs.
//! - `pages`: the metrics of live programs beside their list.
//! - `replace`: runs that make room for the next one.
//! - `runs_topic`: `cron-runs` as others made it, or made anew, and runs that no consumer will run.
//! - `ready`: programs that cannot do their work, whatever the cause.
//! - `scrapers`: hostile ones.
//! - `checks`: what the others assert about the ledger.
//! - `loads`: a lot of output, a deaf log, a long backlog.
//! - `churn`: consumers that come and go beside one that works.
//! - `copied`: topics that were copied to another Kafka.
//! - `disks`: what the programs write to the host, where there is no room for it.
//! - `floods`: more than any queue holds: jobs of one second, stale attempts, waiting retries, dead letters.
//! - `sizes`: messages of as many bytes as a topic takes, and of one more.
//! - `top`: the live view, as lines.
//! - `topics`: topics that are deleted, or are not as they should be.

#[cfg(test)] // it is, and this tells the lints
#[expect(dead_code, reason = "each test binary takes its own part")]
#[path = "../support/mod.rs"]
mod support;

#[cfg(test)]
mod accounts;
#[cfg(test)]
mod anew;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod checks;
#[cfg(test)]
mod churn;
#[cfg(test)]
mod claims;
#[cfg(test)]
mod clocks;
#[cfg(test)]
mod copied;
#[cfg(test)]
mod disks;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod floods;
#[cfg(test)]
mod inherited;
#[cfg(test)]
mod leaders;
#[cfg(test)]
mod loads;
#[cfg(test)]
mod outages;
#[cfg(test)]
mod packed;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod ready;
#[cfg(test)]
mod replace;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod retries;
#[cfg(test)]
mod runs_topic;
#[cfg(test)]
mod scrapers;
#[cfg(test)]
mod sizes;
#[cfg(test)]
mod ticks;
#[cfg(test)]
mod top;
#[cfg(test)]
mod topics;
