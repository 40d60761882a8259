//! Bytes that no author wrote on purpose: the reader reads or refuses any file, and its messages fit a screen.

use super::tests::clusters;
use super::*;
use crate::common::glyphs::is_obeyed;
use crate::common::mutation::cases;

/// A file that uses what there is. Mutations of it reach deeper than random bytes do.
const GOOD: &str = "CRON_TZ=Europe/London # zone\nPATH = \"/usr/bin:/bin\"\nMAILTO=x\n\
    */5 * * * * cluster-a curl -fsS https://example.org/ping\n\
    0 3 * * * cluster-b [name=backup retries=3 backoff=30s timeout=2h] /opt/backup --full\n\
    */10 * * * * * cluster-a [name=\"flaky\" user='x' cwd=\"/a ]\" jitter=5s] test $(( $(date +%s) % 3 )) -eq 0\n\
    @every 90s cluster-b [name=poll tz=UTC grace=1s backoff_max=1h overlap=skip] ./poll.sh # often\r\n\
    @reboot cluster-a [catchup=none catchup_window=1h deadline=5m] x\n\
    @daily cluster-a [ -f x ] && y \\%\n\
    SHELL=/bin/bash\nPATH=~/bin\nTZ=UTC\nUSER=me\n\
    */90 0 * * 1-5 cluster-a [name=бюро] echo 'größe – “5”' \u{2192} it’s & # \u{200b}\n";

/// Pieces that mean something somewhere.
const PIECES: [&str; 44] = [
    "[",
    "]",
    "=",
    "\"",
    "'",
    "#",
    "\n",
    "\r",
    "@",
    "%",
    " ",
    "\0",
    "\u{feff}",
    "é",
    "cluster-a",
    "[name=",
    "CRON_TZ=",
    "\t",
    "\u{a0}",
    "\u{200b}",
    "\u{202e}",
    "\u{2028}",
    "\u{ad}",
    "–",
    "−",
    "“",
    "’",
    "с",
    "０",
    "＝",
    "［",
    "］",
    ",",
    ";",
    "retries=3",
    "\\",
    "\\\n",
    "&",
    "SHELL=",
    "~/",
    "H",
    "L",
    "0~59",
    "mon#2",
];

/// A xorshift generator.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 1).unwrap() % bound
    }
}

fn check(content: &[u8]) {
    match parse("jobs", content, &clusters()) {
        Ok(file) => {
            let mut names: Vec<_> = file.jobs.iter().map(|job| &job.name).collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), file.jobs.len());
            assert!(file.jobs.iter().all(|job| !job.command.is_empty() && clusters().contains(&job.cluster)));
            check_texts(content, &file.warnings);
        }
        Err(problems) => {
            assert!(problems.iter().any(|problem| problem.severity == Severity::Error));
            check_texts(content, &problems);
        }
    }
}

fn check_texts(content: &[u8], texts: &[Problem]) {
    assert!(texts.len() <= 2 * (MAX_PROBLEMS + 1));
    assert!(texts.is_sorted_by_key(|text| text.line));
    let lines = content.split(|byte| *byte == b'\n').count();
    for text in texts {
        assert!((1..=lines).contains(&text.line), "{text}");
        assert!(
            text.what.len() < 5_000 && !text.what.contains(|c: char| is_obeyed(c) && c != '\t'),
            "{text}"
        );
    }
}

#[test]
fn random_bytes_are_read_or_refused() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for _ in 0..cases(2_000) {
        let length = random.below(300);
        let content: Vec<u8> = (0..length).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
        check(&content);
    }
}

#[test]
fn random_words_are_read_or_refused() {
    let words: Vec<&str> = GOOD.split(' ').chain(PIECES).collect();
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    for _ in 0..cases(3_000) {
        let count = random.below(60);
        let content: Vec<&str> = (0..count).map(|_| words[random.below(words.len())]).collect();
        check(content.join(PIECES[random.below(PIECES.len())]).as_bytes());
    }
}

#[test]
fn mutations_of_a_good_file_are_read_or_refused() {
    assert!(parse("jobs", GOOD.as_bytes(), &clusters()).is_ok());
    let mut random = Random(0xD1B5_4A32_D192_ED03);
    for _ in 0..cases(3_000) {
        let mut content = GOOD.as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(content.len());
            let end = (at + random.below(20)).min(content.len());
            match random.below(4) {
                0 => drop(content.drain(at..end)),
                1 => content[at] = u8::try_from(random.below(256)).unwrap(),
                2 => drop(content.splice(at..at, PIECES[random.below(PIECES.len())].bytes())),
                _ => drop(content.splice(at..at, content[at..end].to_vec())),
            }
            content.push(b' ');
        }
        check(&content);
    }
}

/// Every mistaken character at every place of a good line: it is told of by its number, or belongs to a text.
#[test]
fn a_mistaken_character_is_told_of_at_every_place_of_a_line() {
    let line = "0 3-4 * * 1,5 cluster-a [name=x retries=3] /opt/run --all";
    for c in "\u{a0}\u{200b}\u{feff}\u{202e}\u{ad}\u{2028}\u{3000}".chars() {
        for (at, _) in line.char_indices().chain([(line.len(), ' ')]) {
            let content = format!("{}{c}{}\n", &line[..at], &line[at..]);
            let told = match parse("jobs", content.as_bytes(), &clusters()) {
                Ok(file) => file.warnings,
                Err(problems) => problems,
            };
            let number = format!("U+{:04X}", u32::from(c));
            let escaped = format!("\\u{{{:x}}}", u32::from(c));
            let named =
                told.iter().any(|problem| problem.what.contains(&number) || problem.what.contains(&escaped));
            assert!(named || (at == 0 && c == '\u{feff}'), "{content:?}: {told:?}");
        }
    }
}

#[test]
fn a_large_file_that_is_none_is_refused_without_filling_the_memory() {
    check(&vec![b'x'; 10 * 1024 * 1024]);
    check(&vec![0; 1024 * 1024]);
    check(&b"\n".repeat(1024 * 1024));
    check("* * * * * cluster-a [".repeat(3_000).as_bytes());
    check(format!("* * * * * cluster-a [{}] x", "a=b ".repeat(15_000)).as_bytes());
    check(format!("* * * * * {0} {0}", "w".repeat(30_000)).as_bytes());
}
