//! What tests say where there is no Kafka for them: `cargo test` without `scripts/test.sh`.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// Tests of this binary: one takes the broker that all share, one starts its own.
const TESTS: [&str; 2] = [
    "codecs::every_codec_of_a_real_broker_is_read",
    "kafka_crate::the_kafka_crate_and_we_read_what_the_other_writes",
];

/// What a test says on a machine that has these programs, and nothing in the place of the jars.
fn says(test: &str, programs: &[&str], brokers: Option<&str>) -> String {
    let folder = tempfile::tempdir().unwrap();
    for program in programs {
        let path = std::env::var("PATH").unwrap();
        let found = path.split(':').map(|folder| Path::new(folder).join(program)).find(|path| path.is_file());
        symlink(found.unwrap(), folder.path().join(program)).unwrap();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env("RUST_BACKTRACE", "0");
    command.env("PATH", folder.path()).env("KAFKA_CRON_RUN_DIR", folder.path().join("run"));
    match brokers {
        Some(brokers) => command.env("KAFKA_CRON_TEST_BROKERS", brokers),
        None => command.env_remove("KAFKA_CRON_TEST_BROKERS"),
    };
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{test} needs no Kafka");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn without_a_kafka_a_test_says_what_it_needs_which_script_has_it_and_which_variables_there_are() {
    let bash = ["bash", "dirname", "mkdir"];
    let with_java = [&bash[..], &["java"]].concat();
    for test in TESTS {
        for (programs, missing) in
            [(&bash[..], "there is no java on the PATH"), (&with_java, "mvn is missing")]
        {
            let said = says(test, programs, None);
            for part in
                ["scripts/test.sh", "KAFKA_CRON_RUN_DIR", "KAFKA_CRON_TEST_BROKERS=host:port", missing]
            {
                assert!(said.contains(part), "{test} does not say {part:?}:\n{said}");
            }
        }
    }
    let said = says(TESTS[0], &bash, Some("127.0.0.1:1"));
    let expected = "KAFKA_CRON_TEST_BROKERS names 127.0.0.1:1, where nothing listens";
    assert!(said.contains(expected), "{said}");
}
