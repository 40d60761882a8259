//! What the claiming thread writes to the log.

use super::messages::{Call, Failure, Report};
use super::position::Finding;

/// Tells operators, of a topic.
pub(super) fn say(topic: &str, report: &Report) {
    match report {
        Report::OtherTopic(partition, id) => {
            log::warn!("partition {partition}: the topic was made anew: its id is {id} now");
        }
        Report::Missing(partition, missing) => log::warn!(
            "partition {partition}: offsets {} to {} are missing in what was read",
            missing.start,
            missing.end
        ),
        Report::PositionsUnknown(error) => {
            log::debug!("dispatch: where partitions go on: {error}; trying again");
        }
        Report::PositionUnknown(partition, error) => {
            log::warn!("{topic}/{partition}: where it goes on: {error}; trying again");
        }
        Report::ClaimsUnknown(error) => {
            log::warn!("{topic}: what was claimed before: {error}; trying again");
        }
        Report::Found(partition, finding) => say_found(topic, *partition, finding),
        Report::Unremembered(partition, offsets) => log::warn!(
            "{topic}/{partition}: no committed offset, and the messages at offsets {} to {} are older than what is left of \
             cron-runs: they count as claimed and are not run (to run them all the same, stop the consumers of this topic and set \
             the group's offset: kafka-consumer-groups.sh --reset-offsets)",
            offsets.start,
            offsets.end - 1
        ),
        Report::Gone(partition, count) => log::error!(
            "{topic}/{partition}: the topic was deleted and made again, and {count} messages that no consumer had claimed are gone \
             with it"
        ),
        Report::NotReadAgain(partition, error) => {
            log::warn!("{topic}/{partition}: reading what is due again: {error}");
        }
        Report::LetterUnwritten(partition, error) => {
            log::warn!("a letter for {topic}/{partition}: {error}; trying again");
        }
        Report::Undecided(why) => {
            log::warn!("a claim's commit is not decided yet ({why}); sending the same again");
        }
        Report::TooLate(late) => {
            log::error!("{late} claims were confirmed after their lease and are not started");
        }
    }
}

/// Tells operators what was odd about a committed offset.
fn say_found(topic: &str, partition: i32, finding: &Finding) {
    let of = format_args!("{topic}/{partition}");
    match finding {
        Finding::DeletedUnread { from, count, .. } => {
            log::error!("{of}: {count} messages from offset {from} on were deleted unread");
        }
        Finding::Truncated { committed, end } => {
            log::error!("{of}: the log ends at {end}, below the committed offset {committed}");
        }
        Finding::TopicMadeAnew => {
            log::warn!("{of}: the topic was made anew; reading what no consumer has claimed of it");
        }
        Finding::NoOffset => {
            log::info!("{of}: no committed offset; what cron-runs shows as claimed is left out");
        }
        Finding::UnreadableHoles(error) => log::warn!("{of}: {error}; going on from the offset alone"),
    }
}

/// Tells the reader of the debug log that a call failed.
pub(super) fn say_failed(failure: &Failure) {
    if failure.call == Call::Claim {
        log::debug!("dispatch: writing claims: {}; trying again", failure.error);
    }
}
