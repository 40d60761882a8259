#!/bin/sh
# Fills alertmanager.yml.tmpl from the environment and starts Alertmanager with it. For busybox's sh and awk.
#
#   start.sh [ALERTMANAGER_FLAG...]
#
# Environment:
#   SMTP_SMARTHOST          host:port of the mail server, such as smtp.gmail.com:587; empty: the local mail catcher
#   SMTP_FROM, SMTP_TO      addresses; SMTP_TO may be several, with commas
#   SMTP_USERNAME           the login there (default: SMTP_FROM)
#   GMAIL_AUTH_TOKEN        the password, needed with SMTP_SMARTHOST; or GMAIL_AUTH_TOKEN_FILE, a file that holds it
#   WATCHDOG_URL            where the sign of life goes (default: http://watchdog:8080/alive)
#   MAIL_CATCHER            host:port of the catcher (default: mailpit:1025)
#   ALERTMANAGER            the program (default: /bin/alertmanager); ALERTMANAGER_RUN: the directory for the filled-in files
#                           (default: /alertmanager)
#   GROUP_WAIT (30s), GROUP_INTERVAL (5m), WATCHDOG_INTERVAL (1m)     rehearsals use shorter ones
#
# Exit codes: 2 settings are missing, and the message names each; otherwise Alertmanager's.
set -eu
umask 077
here=$(cd "$(dirname "$0")" && pwd)
run=${ALERTMANAGER_RUN:-/alertmanager}
mkdir -p "$run"

# The password ends up in a file, so that Alertmanager does not inherit it. A file that exists already is not copied.
PASSWORD_FILE=''
if [ -n "${GMAIL_AUTH_TOKEN:-}" ]; then
    PASSWORD_FILE=$run/smtp-password
    printf '%s' "$GMAIL_AUTH_TOKEN" >"$PASSWORD_FILE"
elif [ -s "${GMAIL_AUTH_TOKEN_FILE:-/nowhere}" ]; then
    PASSWORD_FILE=$GMAIL_AUTH_TOKEN_FILE
fi
unset GMAIL_AUTH_TOKEN

if [ -n "${SMTP_SMARTHOST:-}" ]; then
    missing=''
    [ -n "$PASSWORD_FILE" ] || missing="$missing GMAIL_AUTH_TOKEN"
    [ -n "${SMTP_FROM:-}" ] || missing="$missing SMTP_FROM"
    [ -n "${SMTP_TO:-}" ] || missing="$missing SMTP_TO"
    if [ -n "$missing" ]; then
        echo "alertmanager: SMTP_SMARTHOST is $SMTP_SMARTHOST, so mails go there, but this is not set:$missing" >&2
        echo "alertmanager: set it in the environment of docker compose, or unset SMTP_SMARTHOST to use the local mail catcher" >&2
        exit 2
    fi
    SMTP_USERNAME=${SMTP_USERNAME:-$SMTP_FROM}
    # On 465 all is TLS from the first byte on, elsewhere after STARTTLS, and never without.
    case $SMTP_SMARTHOST in *:465) SMTP_REQUIRE_TLS=false ;; *) SMTP_REQUIRE_TLS=true ;; esac
else
    SMTP_SMARTHOST=${MAIL_CATCHER:-mailpit:1025} SMTP_USERNAME='' SMTP_REQUIRE_TLS=false PASSWORD_FILE=/dev/null
    echo "alertmanager: no SMTP_SMARTHOST, so mails go to the local catcher at $SMTP_SMARTHOST" >&2
fi
SMTP_FROM=${SMTP_FROM:-kafka-cron@localhost} SMTP_TO=${SMTP_TO:-operators@localhost}
WATCHDOG_URL=${WATCHDOG_URL:-http://watchdog:8080/alive}
GROUP_WAIT=${GROUP_WAIT:-30s} GROUP_INTERVAL=${GROUP_INTERVAL:-5m} WATCHDOG_INTERVAL=${WATCHDOG_INTERVAL:-1m}
TEMPLATES=$here/mail.tmpl
export SMTP_SMARTHOST SMTP_FROM SMTP_TO SMTP_USERNAME SMTP_REQUIRE_TLS WATCHDOG_URL GROUP_WAIT GROUP_INTERVAL \
    WATCHDOG_INTERVAL PASSWORD_FILE TEMPLATES

# As YAML: in single quotes, in which only they are special. An unknown @NAME@ is a mistake in the template.
awk -v quote="'" '
    /^ *#/ { next }
    {
        out = ""; rest = $0
        while (match(rest, /@[A-Z_]+@/)) {
            name = substr(rest, RSTART + 1, RLENGTH - 2)
            if (!(name in ENVIRON)) { print "alertmanager.yml.tmpl:" NR ": nobody knows @" name "@" > "/dev/stderr"; exit 2 }
            value = ENVIRON[name]; gsub(quote, quote quote, value)
            if (value != "true" && value != "false") value = quote value quote
            out = out substr(rest, 1, RSTART - 1) value; rest = substr(rest, RSTART + RLENGTH)
        }
        print out rest
    }' "$here/alertmanager.yml.tmpl" >"$run/alertmanager.yml"

exec "${ALERTMANAGER:-/bin/alertmanager}" --config.file="$run/alertmanager.yml" "$@"
