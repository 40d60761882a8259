//! Heads of lines: right ones, and each way in which one can be wrong.

use super::*;

fn read(line: &str) -> Result<(String, String, String), String> {
    let clusters = ["cluster-a", "cluster-b"].map(|name| ClusterName::new(name).unwrap());
    let header = Header::read(line, &clusters);
    let cluster = header.cluster?.to_string();
    Ok((header.schedule.unwrap(), cluster, header.rest.unwrap().to_owned()))
}

fn check(line: &str, schedule: &str, cluster: &str, rest: &str) {
    assert_eq!(read(line), Ok((schedule.to_owned(), cluster.to_owned(), rest.to_owned())), "{line}");
}

fn check_wrong(line: &str, part: &str) {
    let wrong = read(line).expect_err(line);
    assert!(wrong.contains(part), "{line}: {wrong}");
}

#[test]
fn the_cluster_tells_five_fields_from_six() {
    check("* * * * * cluster-a x", "* * * * *", "cluster-a", "x");
    check("*\t*  * * *\tcluster-b \t x  y ", "* * * * *", "cluster-b", "x  y ");
    check("0 * * * * * cluster-a x", "0 * * * * *", "cluster-a", "x");
    check("0 3 * * * cluster-a cluster-b x", "0 3 * * *", "cluster-a", "cluster-b x");
    check("@daily cluster-a x", "@daily", "cluster-a", "x");
    check("@every  90s cluster-a x", "@every 90s", "cluster-a", "x");
    check("* * * * * cluster-a", "* * * * *", "cluster-a", "");
}

#[test]
fn a_mistyped_field_is_left_to_the_schedule_to_explain() {
    check("0 3 * * mno cluster-a x", "0 3 * * mno", "cluster-a", "x");
    check("0 0 3 * * mno cluster-a x", "0 0 3 * * mno", "cluster-a", "x");
    check("61 25 32 13 9 cluster-a x", "61 25 32 13 9", "cluster-a", "x");
    check("@dayly cluster-a x", "@dayly", "cluster-a", "x");
    check("@ cluster-a x", "@", "cluster-a", "x");
}

#[test]
fn a_wrong_number_of_fields_is_counted() {
    check_wrong("* * * * cluster-a x", "the schedule has 4 fields (five fields, or six with seconds first");
    check_wrong("0 3 * * cluster-a /opt/drain cluster-b", "the schedule has 4 fields");
    check_wrong("0 3 * * cluster-a cluster-b x", "the schedule has 4 fields");
    check_wrong("5 cluster-a x", "the schedule has 1 field (");
    check_wrong("cluster-a x", "the schedule is missing before the cluster");
    check_wrong("0 0 3 * * * 2026 cluster-a x", "the schedule has 7 fields");
    check_wrong("0 0 3 ? * MON-FRI 2026 cluster-a x", "the schedule has 7 fields");
    check_wrong("0 0 3 * * * 2026 x", "the options `from` and `until` bound a job to a year");
    check_wrong("* * * * clustr-a x", "field 5 of the schedule cannot be `clustr-a`");
    check_wrong("0 3 * * /opt/x", "field 5 of the schedule cannot be `/opt/x`");
    check_wrong("0 3 * /opt/drain x cluster-b", "field 4 of the schedule cannot be `/opt/drain`");
    check_wrong("0 3", "the line ends within the schedule");
}

#[test]
fn an_unknown_cluster_is_answered_with_the_known() {
    let known = "the known clusters are `cluster-a`, `cluster-b`";
    check_wrong("* * * * * clustr-a x", &format!("`clustr-a` (did you mean `cluster-a`? {known})"));
    check_wrong("0 * * * * * Cluster-B x", &format!("`Cluster-B` (did you mean `cluster-b`? {known})"));
    check_wrong("* * * * * clustr-a cluster-b x", "unknown cluster `clustr-a`");
    check_wrong("@daily BATCH x", &format!("unknown cluster `BATCH` ({known})"));
    check_wrong("* * * * * 7zip x", "unknown cluster `7zip`");
}

#[test]
fn the_user_column_of_etc_crontab_is_recognized() {
    check_wrong("0 3 * * * root /opt/x", "a user is an option, as in `[user=root]`");
    check_wrong("0 3 * * * root cluster-a /opt/x", "as in `[user=root]`");
    check_wrong("0 3 * * * deploy /opt/x", "as in `[user=deploy]`");
    check_wrong("@daily www-data /opt/x", "as in `[user=www-data]`");
}

#[test]
fn a_missing_cluster_is_missing_and_not_unknown() {
    check_wrong("0 3 * * * /opt/x", "the cluster is missing before `/opt/x`");
    check_wrong("0 3 * * * /opt/drain cluster-b", "the cluster is missing before `/opt/drain`");
    check_wrong("0 3 * * * [retries=3] x", "the cluster is missing before `[retries=3]`");
    check_wrong("@daily ./x", "the cluster is missing before `./x`");
    check_wrong("0 3 * * *", "the line ends after the schedule");
    check_wrong("@daily", "the line ends after the schedule");
}

#[test]
fn the_duration_of_every_is_one_word() {
    check_wrong("@every cluster-a x", "`@every` needs a duration (as in `@every 90s`)");
    check_wrong("@every", "`@every` needs a duration");
    check_wrong("@every 1m 30s cluster-a x", "`30s` follows the duration (durations are written together");
    check("@every soon cluster-a x", "@every soon", "cluster-a", "x");
}

#[test]
fn what_begins_no_line_is_said_to_begin_none() {
    check_wrong("hello world", "`hello` begins neither a schedule nor an environment line");
    check_wrong("export PATH=/bin", "no word before the name");
    check_wrong("\u{a0}* * * * cluster-a x", "begins neither");
}

#[test]
fn long_lists_of_clusters_are_cut() {
    let clusters: Vec<_> = (0..12).map(|i| ClusterName::new(&format!("c{i}")).unwrap()).collect();
    assert!(listed(&clusters).ends_with("`c9`, and 2 more"));
    assert_eq!(listed(&clusters[..1]), "the known cluster is `c0`");
    assert_eq!(listed(&[]), "no cluster is known");
}
