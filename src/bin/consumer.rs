//! consumer.
fn main() {
    kafka_cron::consumer::process::guard::main_if_asked();
}
