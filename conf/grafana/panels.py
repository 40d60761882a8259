"""What the two dashboards show, in the order in which an operator looks: symptoms, then each stage, then Kafka.

A panel is its kind, title, unit (Grafana's names), description, and pairs of a query and its legend. docs/METRICS.md
says what each metric means, and docs/ARCHITECTURE.md which stages a run passes through.
"""


def graph(title, unit, description, *queries, **more):
    return (("timeseries", title, unit, description, queries), more)


def number(title, unit, description, query, **more):
    return (("stat", title, unit, description, [(query, "")]), more)


def percentiles(metric, by, where=""):
    """p50 and p99 of a histogram, for each value of a label."""
    return [
        (f"histogram_quantile({q}, sum by (le, {by}) (rate({metric}_bucket{where}[$__rate_interval])))", f"{{{{{by}}}}} p{name}")
        for q, name in ((0.5, 50), (0.99, 99))
    ]


def rate(metric, by, where=""):
    legend = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))
    return (f"sum by ({by}) (rate({metric}{where}[$__rate_interval]))", legend)


def failing(*calls):
    """The rate of the consumers' failures; one query, because most kinds never occur."""
    each = (f'label_replace(rate(cron_{call}_failures_total[$__rate_interval]), "call", "{call}", "", "")' for call in calls)
    return f"sum by (topic, call, reason) ({' or '.join(each)})"


# A producer that leads and did not a minute before; groups that assigned their partitions again.
ANNOTATIONS = [
    ("leader change", "blue", "(cron_leader == 1) unless (cron_leader offset 1m == 1)", "{{instance}} leads"),
    ("rebalance", "orange", "sum by (topic) (increase(cron_rebalances_total[1m])) > 0", "{{topic}}"),
]

OPERATORS_TELLS = "Are jobs run, and in time? If not: at which stage does it hang? And is it Kafka?"
OPERATORS = [
    ("Symptoms: are jobs run, and in time?", [
        number("Alerts", "none", "Alerts that fire now, without the Watchdog, which always fires. Alertmanager links to their playbooks.",
               'count(ALERTS{alertstate="firing", alertname!="Watchdog"}) or vector(0)', red=1),
        number("Leaders", "none", "Producers that lead: exactly one, or none for some seconds after the leader died.",
               "sum(cron_leader)", red_below=1),
        number("Oldest tick without a fate", "s", "How far the oldest cursor is behind now. It stands still if ticks are not published.",
               "time() - min(max by (cluster) (cron_cursor_seconds))", red=120),
        number("Late p99", "s", "Time from when an attempt was due to the start of its process: the 99th percentile of all topics in the last 5 minutes.",
               "histogram_quantile(0.99, sum by (le) (rate(cron_lateness_seconds_bucket[5m])))", red=5),
        number("Dead letters", "none", "Runs that were given up and messages that could not be read. They wait for an operator: `cronctl dead list`.",
               "sum(max by (cluster) (cron_dead_letters_stored))", red=1),
        number("Programs up", "none", "Producers and consumers that answer Prometheus.", 'sum(up{job=~"producer|consumer"})', red_below=1),
        graph("Lateness", "s", "Time from when an attempt was due to the start of its process. This is what users feel.",
              *percentiles("cron_lateness_seconds", "topic"), min=0),
        graph("Age at dequeue", "s", "How long an attempt that was due waited until a worker took it. It grows if there are too few workers.",
              *percentiles("cron_queue_age_seconds", "topic"), min=0),
        graph("Ticks due, published, started", "cps", "Ticks that the timetable names, as each producer counts them from the clock alone; those that are confirmed by Kafka; and attempts that were started. The three run side by side while all is well (retries are started in addition).",
              ("max by (cluster) (rate(cron_ticks_due_total[$__rate_interval]))", "{{cluster}} due"),
              ("sum by (cluster) (rate(cron_ticks_published_total[$__rate_interval]))", "{{cluster}} published"),
              ("sum by (topic) (rate(cron_attempts_started_total[$__rate_interval]))", "{{topic}} started"), min=0),
        graph("Runs ended", "cps", "What became of runs: succeeded, given up after their last attempt, or expired before they could start.",
              rate("cron_runs_total", "topic, outcome"), stack=True, min=0),
        graph("Jobs whose runs are not succeeding", "none", "The ten jobs with most runs given up or expired in the last hour.",
              ('topk(10, sum by (job) (increase(cron_runs_total{outcome!="succeeded"}[1h])))', "{{job}}"), min=0),
        graph("Dead letters stored", "none", "Records in the dead-letter topic of each cluster, as the leader sees them.",
              ("max by (cluster) (cron_dead_letters_stored)", "{{cluster}}"), min=0),
    ]),
    ("Timetable and publishing: the producers", [
        graph("Scheduled to published", "s", "The first part of the lateness: from the scheduled instant to Kafka's confirmation.",
              *percentiles("cron_lateness_stage_seconds", "topic", '{stage="published"}'), min=0),
        graph("Ticks under way", "none", "Ticks that are due and not confirmed, and ticks of the backlog that are still to be published. High while Kafka is away, and for a while after.",
              ("sum by (cluster) (cron_ticks_under_way)", "{{cluster}} under way"), ("max by (cluster) (cron_catch_up_ticks)", "{{cluster}} to catch up"), min=0),
        graph("Age of the cursor", "s", "The fate of every tick up to the cursor is on record.",
              ("time() - max by (cluster) (cron_cursor_seconds)", "{{cluster}}"), min=0),
        graph("Ticks not run", "cps", "Missed: the tick will never run, by reason. Skipped: the run before it was not finished (overlap).",
              ("sum by (cluster, reason) (rate(cron_ticks_missed_total[$__rate_interval]))", "{{cluster}} missed: {{reason}}"),
              ("sum by (cluster) (rate(cron_ticks_skipped_total[$__rate_interval]))", "{{cluster}} skipped"), min=0),
        graph("Publishing fails", "cps", "Batches that were not confirmed and are written again, commits of the cursor that failed, and calls of the thread that follows cron-runs.",
              ("sum by (cluster, reason) (rate(cron_publish_failures_total[$__rate_interval]))", "{{cluster}} publish: {{reason}}"),
              ("sum by (reason) (rate(cron_cursor_commit_failures_total[$__rate_interval]))", "cursor: {{reason}}"),
              ("sum by (reason) (rate(cron_runs_tail_failures_total[$__rate_interval]))", "cron-runs: {{reason}}"), min=0),
        graph("Who leads", "none", "1 for the producer that leads.", ("cron_leader", "{{instance}}"), min=0),
        graph("Clocks against the broker's", "s", "How far a producer's clock is ahead. Beyond 30 s either way it does not lead.",
              ("cron_clock_skew_seconds", "{{instance}}"), red=30),
        graph("Job file and zone data", "none", "Jobs of the active job file; producers whose job file or time-zone data differs from the leader's; whether the file on disk is good.",
              ("max by (cluster) (cron_jobs)", "{{cluster}} jobs"), ("max(cron_job_file_differs)", "files that differ"),
              ("max(cron_tzdata_differs)", "zone data that differs"),
              ("min(cron_job_file_good)", "good (1) or not (0)"), min=0),
        graph("Leases", "none", "Attempts under way as seen from cron-runs, the age of the leader's last beat that it read back, attempts that were lost with their consumer, and runs given up because of it.",
              ("max(cron_leases_watched)", "watched"), ("max(cron_beat_delay_seconds)", "age of the beat, s"),
              ("sum by (cluster) (increase(cron_attempts_lost_total[$__rate_interval]))", "{{cluster}} lost"),
              ("sum by (cluster) (increase(cron_runs_given_up_total[$__rate_interval]))", "{{cluster}} given up"), min=0),
    ]),
    ("Claiming and running: the consumers", [
        graph("Published to claimed, claimed to started", "s", "The later parts of the lateness, as 99th percentile.",
              ('histogram_quantile(0.99, sum by (le, topic, stage) (rate(cron_lateness_stage_seconds_bucket{stage!="published"}[$__rate_interval])))', "{{topic}} {{stage}}"), min=0),
        graph("Workers busy", "percentunit", "Share of the workers that have an attempt under way. At 100 %, attempts wait.",
              ("sum by (topic) (cron_workers_busy) / sum by (topic) (cron_workers)", "{{topic}}"), min=0, red=1),
        graph("Waiting", "none", "Messages that are not claimed, by partition, and attempts that are held until they may start (retries).",
              ("sum by (topic, partition) (cron_lag_messages)", "{{topic}} {{partition}}"), ("sum by (topic) (cron_held_attempts)", "{{topic}} held"), min=0),
        graph("Pressure on hosts", "percent", "Share of the last ten seconds in which a process waited for a processor or for memory, and whether the consumer takes nothing new for it (100 %). Only with --pressure.",
              ("max by (instance, resource) (cron_pressure_percent)", "{{instance}} {{resource}}"),
              ("100 * max by (instance) (cron_admission_closed)", "{{instance}} takes nothing new"), min=0),
        graph("Attempts", "cps", "Attempts that have ended, by outcome.", rate("cron_attempts_total", "topic, outcome"), stack=True, min=0),
        graph("Duration", "s", "How long attempts took.", *percentiles("cron_attempt_duration_seconds", "topic"), min=0),
        graph("Retries, letters, duplicates", "cps", "Attempts passed on to the retry topic, letters written, and copies of attempts that were dropped.",
              ("sum by (topic) (rate(cron_retries_total[$__rate_interval]))", "{{topic}} retries"),
              ("sum by (topic, reason) (rate(cron_dead_letters_total[$__rate_interval]))", "{{topic}} letters: {{reason}}"),
              ("sum by (topic) (rate(cron_duplicates_dropped_total[$__rate_interval]))", "{{topic}} duplicates"), min=0),
        graph("Fetches answered", "cps", "Whether consumers read a topic, by their own count.", rate("cron_fetches_total", "topic"), min=0),
        graph("Reading, claiming, reporting fail", "cps", "Calls to Kafka that failed and are repeated, and claims that were refused or confirmed too late.",
              (failing("fetch", "claim", "commit", "report"), "{{topic}} {{call}}: {{reason}}"),
              ("sum by (topic) (rate(cron_claims_refused_total[$__rate_interval]))", "{{topic}} refused"),
              ("sum by (topic) (rate(cron_claims_too_late_total[$__rate_interval]))", "{{topic}} too late"), min=0),
        graph("Rebalances", "none", "Generations of the group that gave a consumer partitions. Each start and end of a consumer causes some.",
              ("sum by (topic) (increase(cron_rebalances_total[$__rate_interval]))", "{{topic}}"), min=0),
    ]),
    ("The programs themselves", [
        graph("Up", "none", "Targets that answer Prometheus, by job.", ("sum by (job) (up)", "{{job}}"), min=0),
        graph("Not ready", "none", "Facts that /readyz needs and that do not hold.", ("sum by (fact) (1 - cron_ready)", "{{fact}}"), min=0),
        graph("Threads' last beat", "s", "How long ago each thread completed its loop, the slowest of each name. It grows if a thread hangs.",
              ("max by (thread) (time() - cron_thread_last_beat_seconds)", "{{thread}}"), min=0, red=60),
        graph("Channels", "percentunit", "Fill of the bounded channels between the threads, the fullest of each name. A full channel holds up its senders.",
              ("max by (channel) (cron_channel_items / cron_channel_capacity)", "{{channel}}"), min=0, red=1),
        graph("Memory", "bytes", "Resident memory.", ('process_resident_memory_bytes{job=~"producer|consumer"}', "{{job}} {{instance}}"), min=0),
        graph("Processor", "percentunit", "Share of a core.", ('rate(process_cpu_seconds_total{job=~"producer|consumer"}[$__rate_interval])', "{{job}} {{instance}}"), min=0),
        graph("Open files", "none", "Open file descriptors.", ('process_open_fds{job=~"producer|consumer"}', "{{job}} {{instance}}"), min=0),
        graph("Held back by quotas", "s", "Seconds of each second for which brokers do not read from clients of the program because these are above a quota; `client` in cron_throttled_seconds_total says which. Work waits meanwhile.",
              ("sum by (job) (rate(cron_throttled_seconds_total[$__rate_interval])) or vector(0)", "{{job}}"), min=0),
        graph("Log lines dropped", "cps", "Log lines that were dropped because standard error was not read in time or could not be written.", ("sum by (job) (rate(cron_log_lines_dropped_total[$__rate_interval]))", "{{job}}"), min=0),
        graph("Versions", "none", "Programs by version. More than one during a deploy.", ("count by (job, version) (cron_build_info)", "{{job}} {{version}}"), min=0),
    ]),
    ("Kafka", [
        graph("Brokers and controllers", "none", "Active and fenced brokers, active controllers (one), and the node that leads the quorum (-1: none).",
              ("max(kafka_active_brokers)", "brokers"), ("max(kafka_fenced_brokers)", "fenced"), ("sum(kafka_active_controllers)", "controllers"),
              ("max(kafka_raft_current_leader)", "quorum leader")),
        graph("Partitions in trouble", "none", "Partitions without a leader (no reads or writes), below min.insync.replicas (no write is confirmed), and with too few copies.",
              ("max(kafka_offline_partitions)", "offline"), ("sum(kafka_under_min_isr_partitions)", "below min ISR"),
              ("sum(kafka_under_replicated_partitions)", "under-replicated"), min=0),
        graph("Request time", "ms", "From a request to its answer, the broker's own decaying sample, the slowest broker. Fetches wait on purpose, and so do joins.",
              ('max by (request, quantile) (kafka_request_total_time_ms{request=~"Produce|FetchConsumer|OffsetCommit"})', "{{request}} {{quantile}}"), min=0),
        graph("Requests", "cps", "Requests answered, and those that failed, by error.",
              ("sum by (request) (rate(kafka_requests_total[$__rate_interval]))", "{{request}}"),
              ("sum by (request, error) (rate(kafka_request_errors_total[$__rate_interval]))", "{{request}}: {{error}}"),
              ("sum(rate(kafka_failed_produce_requests_total[$__rate_interval]))", "failed produces"),
              ("sum(rate(kafka_failed_fetch_requests_total[$__rate_interval]))", "failed fetches"), min=0),
        graph("Fetches and produces by topic", "cps", "Requests for each topic. With several brokers they include fetches of followers.",
              ("sum by (topic) (rate(kafka_topic_fetch_requests_total[$__rate_interval]))", "{{topic}} fetch"),
              ("sum by (topic) (rate(kafka_topic_produce_requests_total[$__rate_interval]))", "{{topic}} produce"), min=0),
        graph("Bytes by topic", "Bps", "Bytes written and read.",
              ("sum by (topic) (rate(kafka_topic_bytes_in_total[$__rate_interval]))", "{{topic}} in"),
              ("sum by (topic) (rate(kafka_topic_bytes_out_total[$__rate_interval]))", "{{topic}} out"), min=0),
        graph("Records by topic", "cps", "Records written.", ("sum by (topic) (rate(kafka_topic_messages_in_total[$__rate_interval]))", "{{topic}}"), min=0),
        graph("Kept", "none", "Records that the topic holds, read or not: the end minus the start of its partitions.",
              ("sum by (topic) (max by (topic, partition) (kafka_log_end_offset) - max by (topic, partition) (kafka_log_start_offset))", "{{topic}}"), min=0),
        graph("On disk", "bytes", "What each topic takes on the disk of the broker that has most of it.",
              ("sum by (topic) (max by (topic, partition) (kafka_log_size_bytes))", "{{topic}}"), min=0),
        graph("Groups", "none", "Groups by state, refreshed about once a minute by the broker, and rebalances that were completed.",
              ("sum by (state) (kafka_groups)", "{{state}}"), ("sum(increase(kafka_group_rebalances_total[$__rate_interval]))", "rebalances"), min=0),
        graph("Offset commits", "cps", "Offset commits taken by the coordinators: claims, and the cursor.", ("sum(rate(kafka_group_offset_commits_total[$__rate_interval]))", "commits"), min=0),
        graph("Metadata log", "ms", "Mean time until an entry of the metadata log is on a majority of the controllers.",
              ("max(kafka_raft_commit_latency_avg_ms)", "commit"), min=0),
        graph("Request handlers idle", "percentunit", "Share of time in which the broker's request handlers were idle. Near 0 the broker is the bottleneck.",
              ("min(kafka_request_handler_idle_ratio)", "idle"), min=0),
        graph("High watermark of the metadata log", "none", "It rises steadily while there is a quorum.", ("max(kafka_raft_high_watermark)", "offset"), min=0),
    ]),
]

JOB_TELLS = "One job: did it succeed, how often does it fail, and what on its topic may delay it?"
JOB = [
    ("$job: does it succeed?", [
        number("Last success", "s", "How long ago a run of the job succeeded.", 'time() - max(cron_job_last_success_seconds{job="$job"})'),
        number("Runs succeeded, last hour", "none", "Runs that ended well.", 'sum(increase(cron_runs_total{job="$job", outcome="succeeded"}[1h])) or vector(0)'),
        number("Runs given up, last hour", "none", "Runs that failed with their last attempt or expired: `cronctl dead list`.",
               'sum(increase(cron_runs_total{job="$job", outcome!="succeeded"}[1h])) or vector(0)', red=1),
        number("Attempts that failed, last hour", "percentunit", "Share of the attempts that did not succeed.",
               'sum(increase(cron_attempts_total{job="$job", outcome!="succeeded"}[1h])) / sum(increase(cron_attempts_total{job="$job"}[1h])) or vector(0)', red=0.5),
        graph("Runs", "cps", "What became of its runs.", ('sum by (outcome) (rate(cron_runs_total{job="$job"}[$__rate_interval]))', "{{outcome}}"), stack=True, min=0),
        graph("Attempts", "cps", "How its attempts ended. More of them than runs are retries.",
              ('sum by (outcome) (rate(cron_attempts_total{job="$job"}[$__rate_interval]))', "{{outcome}}"), stack=True, min=0),
        graph("Time since its last success", "s", "It goes back to 0 with each success.", ('time() - max by (topic) (cron_job_last_success_seconds{job="$job"})', "{{topic}}"), min=0),
    ]),
    ("What it shares with the other jobs of its topics", [
        graph("Lateness", "s", "Of all jobs of the topics in which it runs.",
              ('histogram_quantile(0.99, sum by (le, topic) (rate(cron_lateness_seconds_bucket[$__rate_interval])) and on (topic) group by (topic) (cron_attempts_total{job="$job"}))', "{{topic}} p99"), min=0),
        graph("Duration", "s", "Of all jobs of the topics in which it runs. `cronctl runs --job` has those of this one.",
              ('histogram_quantile(0.99, sum by (le, topic) (rate(cron_attempt_duration_seconds_bucket[$__rate_interval])) and on (topic) group by (topic) (cron_attempts_total{job="$job"}))', "{{topic}} p99"), min=0),
        graph("Workers busy", "percentunit", "At 100 % it waits for a worker.",
              ('sum by (topic) (cron_workers_busy) / sum by (topic) (cron_workers) and on (topic) group by (topic) (cron_attempts_total{job="$job"})', "{{topic}}"), min=0, red=1),
    ]),
]
