//! Lines that look right and are not: each is told of, with its place and what would be right.

use super::*;

#[test]
fn a_line_that_the_consumers_would_refuse_is_an_error() {
    for shell in ["bash", "/bin/bash\u{21b2}", "/bin/bash -e"] {
        check_wrong(&format!("SHELL={shell}\n@daily cluster-a true\n"), &["1: `SHELL`: `"]);
    }
    check_wrong("SHELL=/bin/bash\r\r\n", &["1: control character U+000D"]);
    check_wrong("@daily cluster-a [name=a,retries=3] /opt/x", &["1: option `name`: `,` before `retries=`"]);
    check_wrong(
        "@daily cluster-a [name=a;retries=3;timeout=2h] /opt/x",
        &["1: option `name`: `;` before `retries=`"],
    );
    check_wrong("@daily cluster-a [name=a, retries=3] /opt/x", &["1: option `name`: it ends with `,`"]);
    check_wrong("@daily cluster-a [name=“e”] /opt/x", &["1: option `name`: U+201C"]);
}

#[test]
fn a_character_that_is_mistaken_for_another_is_named_wherever_it_stands() {
    check_wrong(
        "0 3 * * *\u{a0} cluster-a /opt/x",
        &["1: U+00A0 (no-break space) in column 10 only looks like a space"],
    );
    check_wrong("0\u{a0}3 * * *\u{a0}cluster-a\u{a0}/opt/x", &["1: U+00A0 (no-break space) in column 2"]);
    check_wrong("0 9 * * 1–5 cluster-a /opt/y", &["1: U+2013 (en dash) in column 10 only looks like `-`"]);
    check_wrong(
        "A=b\n\u{feff}0 3 * * * cluster-a /opt/z",
        &["2: U+FEFF (byte order mark) in column 1 cannot be seen"],
    );
    check_wrong("A=b\n\u{feff}# a comment", &["2: U+FEFF (byte order mark) in column 1"]);
    check_wrong("A=b\n\u{feff}", &["2: U+FEFF"]);
    check_wrong("A=b\n\u{feff}C=d", &["2: U+FEFF"]);
    check_wrong("0 5 * * * cluster‐a /opt/h", &["1: U+2010 (hyphen) in column 18"]);
    check_wrong(
        "0 5 * * * сluster-a /opt/c",
        &["1: U+0441 (Cyrillic letter) in column 11 only looks like `c`"],
    );
    check_wrong(
        "０ 3 * * * cluster-a /opt/w",
        &["1: U+FF10 (full-width character) in column 1 only looks like `0`"],
    );
    check_wrong("\u{200e}0 3 * * * cluster-a /opt/w", &["1: U+200E (left-to-right mark) in column 1"]);
    check_wrong("0 3 * * * clu\u{ad}ster-a /opt/w", &["1: U+00AD (soft hyphen) in column 14"]);
    check_wrong("0 3\u{2028}* * * cluster-a /opt/w", &["1: U+2028 (line separator) in column 4"]);
    check_wrong("0 3 * * 1−5 cluster-a /opt/w", &["1: U+2212 (minus sign) in column 10"]);
    check_wrong("0 3 * * * cluster-a \u{200b}/opt/w", &["1: U+200B (zero width space) in column 21"]);
    check_wrong("０ 3–4 * * 1—5 cluster-a x", &["1: U+FF10", "1: U+2013", "1: U+2014"]);
    check_wrong("@every\u{a0}90s cluster-a x", &["1: U+00A0"]);
    check_wrong(
        "0 3 * * *\u{a0}clustr-a [retrys=1] x",
        &["1: U+00A0", "1: did you mean `cluster-a`", "1: `retrys`"],
    );
    check_wrong("0 3 * * * cluster-a ［name＝a］ x", &["1: U+FF3B", "1: U+FF1D", "1: U+FF3D"]);
    check_wrong("0 3 * * * cluster-a [name＝a] x", &["1: U+FF1D (full-width character) in column 26"]);
    check_wrong(
        "0 3 * * * cluster-a [retries=３] x",
        &["1: `３` with U+FF13 (full-width character) is not a number"],
    );
    check_wrong("0 3 * * * cluster-a [name=a\u{a0}retries=3] x", &["1: option `name`: U+00A0"]);
    check_wrong(
        "0 3 * * * cluster-a [tz=Europe/Lоndon] x",
        &["1: `Europe/Lоndon` with U+043E (Cyrillic letter)"],
    );
    check_wrong("CRON_TZ=Europe/London\u{200b}", &["1: `Europe/London\\u{200b}`"]);
    check_wrong("FOO\u{a0}=x", &["1: U+00A0 (no-break space) in column 4"]);
    check_warning(
        "0 6 * * * cluster-a /opt/v\u{200b}",
        Some("U+200B (zero width space) in column 27 cannot be seen"),
    );
    check_warning("0 6 * * * cluster-a /opt/v –full", Some("U+2013 (en dash) in column 28"));
    check_warning(
        "@daily cluster-a [cwd=/srv/аpp] x",
        Some("option `cwd`: U+0430 (Cyrillic letter) only looks like `a`"),
    );
    check_warning("@daily cluster-a [name=a‐b] x", Some("option `name`: U+2010 (hyphen)"));
    check_warning("@daily cluster-a [cwd=\"/srv/a\u{a0}b\"] x", Some("option `cwd`: U+00A0"));
    check_wrong(
        "@daily cluster-a [name=\"a\u{202e}b\"] x",
        &["1: option `name`: U+202E (bidirectional override)"],
    );
    check_warning("PATH=“/bin", Some("U+201C"));
    check_warning("PATH=/bin\u{200b}:/usr/bin", Some("U+200B (zero width space) in column 10"));
    check_warning("0 6 * * * cluster-a [name=бюро] echo 'größe – “5”'", None);
}

#[test]
fn a_file_with_errors_shows_its_warnings_and_a_line_that_is_not_continued() {
    let content = "0 3 * * * cluster-a /opt/x \\\n    --long-option \\\n    --other\n--more\n";
    let problems = texts(&parse("jobs", content.as_bytes(), &clusters()).unwrap_err());
    let parts = [
        "jobs:1: warning: a `\\` at the end of a line does not continue it (a job is one line)",
        "jobs:2: `--long-option` begins neither",
        "jobs:3: `--other` begins neither",
        "jobs:4: `--more` begins neither",
    ];
    assert_eq!(problems.len(), parts.len(), "{problems:#?}");
    problems.iter().zip(parts).for_each(|(problem, part)| assert!(problem.starts_with(part), "{problem}"));
    let above = "; a `\\` at the end of a line does not continue it, and line 1 has one";
    assert!(problems[1].ends_with(above) && problems[2].ends_with(above), "{problems:#?}");
    assert!(!problems[3].contains("line 1"), "{problems:#?}");
}
