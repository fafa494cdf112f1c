//! What a watch shows, as metrics: a collector for any registry of the crate prometheus-client.
//!
//! The only label that a user names is the pool's; all others have a fixed set of values.

use std::{collections::BTreeMap, fmt};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue},
    metrics::MetricType,
    registry::Unit,
};

use super::{Pool, Queues, Snapshot, Standing, Watch};
use crate::{driver::PoolRef, record::Counts};

/// The labels of one sample.
type Labels<'s> = Vec<(&'static str, &'s str)>;

/// A number of what a tick saw: its metric, what it means, where it stands.
type Count = (&'static str, &'static str, fn(&Counts) -> u64);

const COUNTS: [Count; 9] = [
    ("headcount_pool_workers_up", "Workers that claim.", |seen| seen.up.into()),
    ("headcount_pool_workers_booting", "Workers asked for that do not work yet.", |seen| seen.booting.into()),
    ("headcount_pool_workers_overdue", "Instances that should have come up by now.", |seen| seen.overdue.into()),
    ("headcount_pool_workers_draining", "Workers that claim nothing and finish what they run.", |seen| {
        seen.draining.into()
    }),
    ("headcount_pool_workers_leaving", "Instances being removed.", |seen| seen.leaving.into()),
    ("headcount_pool_jobs_running", "Jobs that run on workers that claim.", |seen| seen.running.into()),
    ("headcount_pool_jobs_finishing", "Jobs that run on workers that are draining or leaving.", |seen| {
        seen.finishing.into()
    }),
    ("headcount_pool_jobs_ready", "Jobs that could be claimed now.", |seen| seen.demand.ready),
    ("headcount_pool_jobs_due", "Whether scheduled jobs are due and about to become ready (0 or 1).", |seen| {
        seen.demand.due.into()
    }),
];

impl Collector for Watch {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let seen = self.look();
        scaler(&mut encoder, &seen)?;
        latest(&mut encoder, &seen.pools)?;
        totals(&mut encoder, &seen.pools)
    }
}

fn scaler(encoder: &mut DescriptorEncoder, seen: &Snapshot) -> fmt::Result {
    let acts = u64::from(seen.standing == Standing::Acts);
    let help = "Whether this scaler is the one that acts (0 or 1).";
    gauge(encoder, "headcount_scaler_is_acting", help, None, [(vec![], acts)])?;
    let help = "When this scaler last decided for a pool, by the store's clock.";
    let last = seen.last_tick.map(|at| (vec![], at.timestamp_millis() as f64 / 1e3));
    gauge(encoder, "headcount_scaler_last_tick_timestamp", help, Some(&Unit::Seconds), last)?;
    let help = "How long ago the store last answered this scaler.";
    let read = seen.read.map(|age| (vec![], age.as_secs_f64()));
    gauge(encoder, "headcount_scaler_store_read_age", help, Some(&Unit::Seconds), read)
}

/// What the latest ticks saw and decided. What was not seen has no sample: unknown is never zero.
fn latest(encoder: &mut DescriptorEncoder, pools: &BTreeMap<PoolRef, Pool>) -> fmt::Result {
    let records = || pools.values().filter_map(|pool| pool.latest.as_ref());
    let help = "How many workers should be claiming; none while nothing could be decided.";
    let wanted = records().filter_map(|record| Some((pool_label(&record.pool), u64::from(record.wanted()?))));
    gauge(encoder, "headcount_pool_workers_wanted", help, None, wanted)?;
    for (name, help, of) in COUNTS {
        let counts = records().filter_map(|record| Some((pool_label(&record.pool), of(record.counts.as_ref()?))));
        gauge(encoder, name, help, None, counts)?;
    }
    let queues = || pools.iter().filter_map(|(name, pool)| Some((pool_label(name), pool.queues?)));
    let help = "How long the oldest claimable job has waited; 0 if none waits.";
    let oldest =
        queues().map(|(pool, Queues { oldest, .. })| (pool, oldest.map_or(0.0, |oldest| oldest.as_secs_f64())));
    gauge(encoder, "headcount_pool_oldest_job_age", help, Some(&Unit::Seconds), oldest)?;
    let help = "Jobs of the pool's queues that were started.";
    counter(encoder, "headcount_pool_starts", help, None, queues().map(|(pool, queues)| (pool, queues.started)))?;
    let help = "Jobs of the pool's queues that were started too late.";
    counter(encoder, "headcount_pool_late_starts", help, None, queues().map(|(pool, queues)| (pool, queues.late)))
}

/// What has been counted since the process began.
fn totals(encoder: &mut DescriptorEncoder, pools: &BTreeMap<PoolRef, Pool>) -> fmt::Result {
    let totals = || pools.iter().map(|(name, pool)| (name, &pool.totals));
    let ticks = totals().map(|(pool, totals)| (pool_label(pool), totals.ticks));
    counter(encoder, "headcount_pool_ticks", "Ticks of the scaler.", None, ticks)?;
    let took = totals().map(|(pool, totals)| (pool_label(pool), totals.took.as_secs_f64()));
    let help = "The time that ticks took, the platform's and the store's answers included.";
    counter(encoder, "headcount_pool_tick_duration", help, Some(&Unit::Seconds), took)?;
    let decisions = totals().flat_map(|(pool, totals)| {
        let each = totals.decisions.iter();
        each.map(move |((step, reason), count)| {
            (vec![("pool", pool.as_str()), ("step", step), ("reason", reason)], *count)
        })
    });
    let help = "Decisions, by what was to be done and the class of the reason.";
    counter(encoder, "headcount_pool_decisions", help, None, decisions)?;
    let unseen = totals().flat_map(|(pool, totals)| {
        let each = totals.unseen.iter();
        each.map(move |(whose, count)| (vec![("pool", pool.as_str()), ("source", whose)], *count))
    });
    let help = "Readings of the store or the platform that failed.";
    counter(encoder, "headcount_pool_failed_readings", help, None, unseen)?;
    let answers = totals().flat_map(|(pool, totals)| {
        let each = totals.answers.iter();
        each.map(move |((asked, outcome), count)| {
            (vec![("pool", pool.as_str()), ("change", asked), ("outcome", outcome)], *count)
        })
    });
    let help = "The platform's answers to changes, by what was asked and what came of it.";
    counter(encoder, "headcount_pool_platform_answers", help, None, answers)?;
    let lost = totals().map(|(pool, totals)| (pool_label(pool), totals.lost));
    counter(encoder, "headcount_pool_lost_instances", "Instances that ended by themselves.", None, lost)
}

fn pool_label(pool: &PoolRef) -> Labels<'_> {
    vec![("pool", pool.as_str())]
}

fn gauge<'s>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    samples: impl IntoIterator<Item = (Labels<'s>, impl EncodeGaugeValue)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    samples.into_iter().try_for_each(|(labels, value)| {
        if labels.is_empty() {
            metric.encode_gauge(&value)
        } else {
            metric.encode_family(&labels)?.encode_gauge(&value)
        }
    })
}

fn counter<'s, V: EncodeCounterValue>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    samples: impl IntoIterator<Item = (Labels<'s>, V)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Counter)?;
    samples.into_iter().try_for_each(|(labels, value)| {
        metric.encode_family(&labels)?.encode_counter::<prometheus_client::encoding::NoLabelSet, V, u64>(&value, None)
    })
}
