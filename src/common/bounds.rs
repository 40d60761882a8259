//! Every bound in one place, with the reason for its number. What happens at the bound stands at the channel.

use std::time::Duration;

/// Ticks that the scheduler hands to a publisher at a time: large enough that a produce request is well filled,
/// small enough that current ticks never wait long behind a batch.
pub const TICKS_PER_BATCH: usize = 2_000;

/// Batches of ticks under way to one publisher: one being written, and one of which the records are made meanwhile, keep
/// it busy. The scheduler does not take more from the timetable until one is confirmed.
pub const TICK_BATCHES: usize = 2;

/// Ticks of a cluster that are due and cannot be decided yet, because it is not known which runs are not finished. Some
/// 200 bytes each; when there are so many, nothing more of the cluster is published until it is known.
pub const TICKS_HELD_BACK: usize = 100_000;

/// Batches whose records are made and wait to be written, besides the one that is being written.
pub const ENCODED_BATCHES: usize = 1;

/// Job files waiting for the scheduler: only the newest counts, and it replaces one that was not taken.
pub const JOB_FILES: usize = 1;

/// Bytes of keys and values in one batch of a produce request: half of what a broker takes by default
/// (`message.max.bytes`), so that no batch of small records is refused for its size.
pub const PRODUCE_BATCH_BYTES: usize = 512 * 1024;

/// What leadership tells the scheduler, waiting to be heard: a beginning and a start for each of many clusters.
/// The scheduler never waits for leadership, so a full channel only delays a takeover.
pub const LEAD_ACTS: usize = 64;

/// How many records before the lowest unclaimed offset are read again to know duplicates (design: 10,000 offsets).
pub const DUPLICATE_WINDOW: i64 = 10_000;

/// Bytes of messages that are ready but wait for a worker, a partition, before fetching from it pauses. As many bytes of
/// messages that wait for their instant are kept beside them; of what is more, offset and instant alone.
pub const HELD_BYTES_PER_PARTITION: usize = 8 * 1024 * 1024;

/// Messages that are ready but wait for a worker, a partition, before fetching from it pauses. Enough to feed any number
/// of workers over one fetch's round trip.
pub const READY_PER_PARTITION: usize = 2_000;

/// Messages that wait for their instant, a partition, before fetching from it pauses. Each is a hole in the commits behind
/// it, and the text beside an offset names at most 100,000 ([`super::holes::MAX_HOLES`]): what has been fetched by the time
/// fetching pauses, and what is ready, must fit as well. 6 MiB of offsets and instants.
pub const WAITING_PER_PARTITION: usize = 60_000;

/// Orders that a consumer remembers, and reads back when it starts: those that still matter are written every ten seconds,
/// so this is many runs replaced at a time. 16 bytes each.
pub const ORDERS_REMEMBERED: usize = 10_000;

/// Orders on their way to the claiming thread: what one fetch has brought. The thread of orders waits when it is full.
pub const ORDERS_TOLD: usize = 1;

/// Fetched chunks between the fetchers and the claiming thread; a fetcher waits when it is full.
pub const FETCHED_CHUNKS: usize = 8;

/// Bytes asked of a broker for one partition in one fetch, as in Kafka's own consumer (`max.partition.fetch.bytes`).
pub const FETCH_PARTITION_BYTES: i32 = 1024 * 1024;

/// Bytes asked of a broker in one fetch.
pub const FETCH_BYTES: i32 = 8 * 1024 * 1024;

/// Bytes of the words for what is wrong with a message.
pub const DETAIL_BYTES: usize = 500;

/// Bytes of results that a consumer holds while they cannot be written: thousands of failed attempts whose retry topic is
/// gone. When there are so many, workers wait with what they have to say.
pub const RESULTS_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// How long a fetch waits at the broker when there is nothing to read.
pub const FETCH_MAX_WAIT: Duration = Duration::from_millis(500);

/// Finished runs on their way from the run tracker to the scheduler: a burst of them while the scheduler hands over
/// a batch. The run tracker waits when it is full.
pub const RUNS_TOLD: usize = 1_024;

/// Lines of log waiting for a slow stderr; further lines are dropped and counted.
pub const LOG_LINES: usize = 4_096;

/// Bytes of one line of log; the rest is cut. Enough for a long command, and the lines waiting stay below 32 MiB.
pub const LOG_LINE_BYTES: usize = 8 * 1024;

/// The last bytes of a command's output that its event keeps.
pub const OUTPUT_TAIL_BYTES: usize = 8 * 1024;

/// Job names that metrics tell apart; the rest is `other`.
pub const METRIC_JOB_NAMES: usize = 1_000;

/// Signals waiting for `main`, which acts on the first two.
pub const SIGNALS: usize = 8;

/// The largest answer of a broker that is believed, fetches apart: metadata of tens of thousands of partitions fit.
pub const ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// The largest answer to a fetch. What is asked for is [`FETCH_BYTES`], but a first batch is sent whole whatever its
/// size, and a topic's `max.message.bytes` may have been raised to tens of megabytes.
pub const FETCH_ANSWER_BYTES: usize = 128 * 1024 * 1024;

/// The largest a batch may become when it is unpacked: sixty-four times a broker's default for a packed one.
pub const UNPACKED_BATCH_BYTES: usize = 64 * 1024 * 1024;

/// How much of an answer to a fetch is unpacked: once its batches have become so large together, the rest of it is left to the
/// next fetch. The last of them may be as large as [`UNPACKED_BATCH_BYTES`] on top.
pub const UNPACKED_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Names waiting to be looked up, each once: more than there are brokers that a program talks to.
pub const NAMES_LOOKED_UP: usize = 64;

/// Names that are looked up at a time. So many may not be answered for before others wait for them.
pub const NAMES_AT_A_TIME: usize = 4;

/// Records that `cronctl top` hands from its reader to its view at a time, without the output of jobs: under a megabyte.
pub const TOP_RECORDS: usize = 1_000;

/// What the threads of `cronctl top` have for its view, each in a channel of its own: the view is never far behind, and a
/// reader that is ahead of it waits.
pub const TOP_EVENTS: usize = 4;

/// What the view asks of a thread. A question that finds no room is asked again with the next look.
pub const TOP_QUESTIONS: usize = 2;

/// Connections to a program's page at a time: several scrapers and probes at once, and a page's worth of memory each.
pub const HTTP_CONNECTIONS: usize = 16;

/// The longest head of a request to the page, as servers commonly have it: room for a browser's cookies.
pub const HTTP_HEAD_BYTES: usize = 8 * 1024;
