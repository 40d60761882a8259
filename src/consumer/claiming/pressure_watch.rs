//! The host's pressure, looked at now and then while the consumer is told to heed it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::consumer::metrics::ConsumerMetrics;
use crate::consumer::pressure::{Admission, DIRECTORY, Limits, Stall, Turn};

/// How often it is looked at. The kernel brings its averages up to date every two seconds.
const LOOK: Duration = Duration::from_secs(1);

/// What is watched, and what follows from it.
#[derive(Debug)]
pub(super) struct PressureWatch {
    directory: PathBuf,
    admission: Admission,
    look_at: Instant,
    /// It could not be read at the last look.
    is_unknown: bool,
}

impl PressureWatch {
    /// Creates a watch; `None` where nothing is to be watched, or the kernel keeps no account of it, which the log says.
    pub(super) fn new(limits: Option<Limits>, now: Instant) -> Option<Self> {
        Self::of(PathBuf::from(DIRECTORY), limits?, now)
    }

    fn of(directory: PathBuf, limits: Limits, now: Instant) -> Option<Self> {
        match Stall::read(&directory) {
            Ok(_) => {
                Some(Self { directory, admission: Admission::new(limits), look_at: now, is_unknown: false })
            }
            Err(error) => {
                log::warn!(
                    "--pressure has no effect here: {} cannot be read ({error}); the kernel needs PSI (psi=1)",
                    directory.display()
                );
                None
            }
        }
    }

    /// Looks, if it is time, shows what it sees, and returns whether new attempts are taken, if that has changed.
    pub(super) fn look(&mut self, now: Instant, metrics: &ConsumerMetrics) -> Option<bool> {
        if now < self.look_at {
            return None;
        }
        self.look_at = now + LOOK;
        let stall = self.read(metrics);
        let turn = self.admission.judge(stall)?;
        match turn {
            Turn::Closed(resource) => log::warn!(
                "the host is overloaded ({resource}; processes waited for cpu in {:.0} %, for memory in {:.0} % of the last \
                 ten seconds): nothing new is taken until it has recovered; what runs goes on",
                stall.cpu,
                stall.memory
            ),
            Turn::Opened => log::info!("the host has recovered: new attempts are taken again"),
        }
        metrics.admission_closed.set(i64::from(!self.admission.is_open()));
        Some(self.admission.is_open())
    }

    /// Reads and shows the pressure. What cannot be read any more must not keep the consumer closed, nor go on to be shown
    /// as it was last.
    fn read(&mut self, metrics: &ConsumerMetrics) -> Stall {
        let read = Stall::read(&self.directory);
        let was_unknown = std::mem::replace(&mut self.is_unknown, read.is_err());
        match read {
            Ok(stall) => {
                if was_unknown {
                    log::info!("the host's pressure can be read again: --pressure has its effect");
                }
                metrics.pressure.with_label_values(&["cpu"]).set(stall.cpu);
                metrics.pressure.with_label_values(&["memory"]).set(stall.memory);
                stall
            }
            Err(error) => {
                if !was_unknown {
                    let directory = self.directory.display();
                    log::warn!("--pressure has no effect at present: {directory} cannot be read ({error})");
                }
                metrics.pressure.reset();
                Stall::default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::metrics::Metrics;

    #[test]
    fn it_looks_once_a_second_and_tells_a_change_once() {
        let directory = tempfile::tempdir().unwrap();
        let write = |cpu: &str| {
            for name in ["cpu", "memory"] {
                let avg10 = if name == "cpu" { cpu } else { "0.00" };
                let text = format!("some avg10={avg10} avg60=0.00 avg300=0.00 total=1\n");
                std::fs::write(directory.path().join(name), text).unwrap();
            }
        };
        let metrics = ConsumerMetrics::new(&Metrics::new(), "a");
        let (begin, limits) = (Instant::now(), Limits { cpu: Some(80.0), memory: None });
        let at = |millis| begin + Duration::from_millis(millis);
        assert!(
            PressureWatch::of(directory.path().to_owned(), limits, begin).is_none(),
            "there is no account"
        );
        write("90.00");
        let mut watch = PressureWatch::of(directory.path().to_owned(), limits, begin).unwrap();
        assert_eq!(watch.look(at(0), &metrics), Some(false));
        assert_eq!(metrics.admission_closed.get(), 1);
        assert!((metrics.pressure.with_label_values(&["cpu"]).get() - 90.0).abs() < 0.01);
        write("10.00");
        assert_eq!(watch.look(at(999), &metrics), None, "it is not time");
        assert_eq!(watch.look(at(1_000), &metrics), Some(true));
        assert_eq!(watch.look(at(2_000), &metrics), None, "nothing has changed");
        assert_eq!(metrics.admission_closed.get(), 0);
        write("90.00");
        assert_eq!(watch.look(at(3_000), &metrics), Some(false));
        write("nonsense");
        assert_eq!(watch.look(at(4_000), &metrics), Some(true), "what cannot be read closes nothing");
        let shown = || prometheus::core::Collector::collect(&metrics.pressure)[0].get_metric().len();
        assert_eq!(shown(), 0, "and is not shown as it was last");
        write("10.00");
        assert_eq!(watch.look(at(5_000), &metrics), None);
        assert_eq!(shown(), 2);
    }
}
