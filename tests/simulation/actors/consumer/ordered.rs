//! The thread `orders`: it reads which runs are to end, and tells the workers and the claiming thread.

use std::time::Duration;

use kafka_cron::common::bounds::ORDERS_TOLD;
use kafka_cron::common::clock::Now;
use kafka_cron::consumer::orders::messages::{Effect, News};

use super::{Consumer, Thread};
use crate::world::World;

impl Consumer {
    pub(super) fn follow_orders(&mut self, world: &mut World, now: Now) -> Option<Duration> {
        // The channel is full: it waits with what it has read.
        if self.news.len() >= ORDERS_TOLD && self.dispatches {
            return Some(Duration::from_millis(50));
        }
        let (effects, wait) = self.orders.step(self.orders_client.as_mut(), now);
        for effect in effects {
            let Effect::Tell(news) = effect else { continue };
            if let News::Ordered(runs) = &news {
                for (run, at) in runs {
                    self.ordered.take(*run, *at);
                    world.oracle.orders.heard(&self.name, *run, *at);
                }
                world.weather().counts.add("order read", runs.len() as u64);
                (0..self.workers.len()).for_each(|worker| self.wake(Thread::Worker(worker), now.mono));
            }
            self.news.push_back(news);
            self.wake(Thread::Claiming, now.mono);
        }
        Some(wait.max(world.random.span(20, 700)))
    }
}
