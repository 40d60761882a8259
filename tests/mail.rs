//! `conf/alertmanager/start.sh`: what it makes of the environment, and what it says where something is missing.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

#[cfg(test)]
struct Started {
    output: Output,
    directory: tempfile::TempDir,
}

#[cfg(test)]
impl Started {
    /// With `echo` in the place of Alertmanager, so that its flags are what is printed.
    fn with(settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/alertmanager/start.sh");
        let mut start = Command::new("sh");
        start.arg(script).arg("--more").env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        start.env("ALERTMANAGER", "/bin/echo").env("ALERTMANAGER_RUN", directory.path());
        start.envs(settings.iter().copied());
        Self { output: start.output().unwrap(), directory }
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }
}

#[test]
fn without_a_smart_host_mails_go_to_the_catcher_and_nobody_logs_in() {
    // A token alone is no reason to send it anywhere.
    let started = Started::with(&[("GMAIL_AUTH_TOKEN", "secret")]);
    assert_eq!(started.output.status.code(), Some(0), "{}", started.said());
    assert!(started.said().contains("mails go to the local catcher at mailpit:1025"));
    let filled = started.file("alertmanager.yml");
    for line in ["smtp_smarthost: 'mailpit:1025'", "smtp_require_tls: false", "smtp_auth_username: ''"] {
        assert!(filled.contains(line), "{line} is not in:\n{filled}");
    }
    assert!(!filled.contains("@SMTP_") && !filled.contains("_URL@"), "something is not filled in:\n{filled}");
    assert!(filled.contains("smtp_auth_password_file: '/dev/null'"), "{filled}");
}

#[test]
fn with_a_smart_host_and_no_token_it_says_so_and_does_not_start() {
    let started = Started::with(&[("SMTP_SMARTHOST", "smtp.example:587"), ("SMTP_TO", "a@example")]);
    assert_eq!(started.output.status.code(), Some(2));
    assert!(started.said().contains("not set: GMAIL_AUTH_TOKEN SMTP_FROM\n"), "{}", started.said());
    assert_eq!(started.output.stdout, b"");
}

#[test]
fn the_token_is_in_a_file_for_its_owner_and_in_nothing_else() {
    let mut settings = vec![
        ("SMTP_SMARTHOST", "smtp.example:587"),
        ("SMTP_FROM", "o'brien@example"),
        ("SMTP_TO", "a@example"),
        ("GMAIL_AUTH_TOKEN", "secret"),
    ];
    let started = Started::with(&settings);
    assert_eq!(started.output.status.code(), Some(0), "{}", started.said());
    let filled = started.file("alertmanager.yml");
    for line in
        ["smtp_from: 'o''brien@example'", "smtp_require_tls: true", "smtp_auth_username: 'o''brien@example'"]
    {
        assert!(filled.contains(line), "{line} is not in:\n{filled}");
    }
    let printed = String::from_utf8_lossy(&started.output.stdout);
    assert!(printed.contains("--more"));
    assert!(![&*filled, &printed, &started.said()].iter().any(|text| text.contains("secret")));
    assert_eq!(started.file("smtp-password"), "secret");
    let mode = started.directory.path().join("smtp-password").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // As a file it is not copied.
    let (_, file) = (settings.pop(), started.directory.path().join("smtp-password"));
    let from_file = [&settings[..], &[("GMAIL_AUTH_TOKEN_FILE", file.to_str().unwrap())]].concat();
    let from_file = Started::with(&from_file);
    let line = format!("smtp_auth_password_file: '{}'", file.display());
    assert!(from_file.file("alertmanager.yml").contains(&line), "{}", from_file.said());
    assert_eq!(from_file.file("smtp-password"), "");
    settings.push(("GMAIL_AUTH_TOKEN", "secret"));

    // On 465 there is TLS from the first byte on, and no STARTTLS to be required.
    settings[0].1 = "smtp.example:465";
    assert!(Started::with(&settings).file("alertmanager.yml").contains("smtp_require_tls: false"));
}
