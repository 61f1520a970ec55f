//! The OpenMetrics text.

use hanzo_metering::*;

#[test]
fn every_series_is_there_with_its_value() {
    let mut metrics = Metrics::default();
    let capacity = Demand { resources: Resources::new(4_000, 8 << 30, 0).unwrap(), slots: 10 };
    let mut scheduler = Scheduler::new(SchedulerConfig::new(capacity)).unwrap();
    let job = |id| Event::Submit(JobSpec::new(id, 1, Resources::new(3_000, 2 << 30, 0).unwrap()));
    scheduler.tick(Timestamp::from_nanos(1), &[job(1), job(2)]).unwrap();
    metrics.scheduler(&scheduler);

    let now = Timestamp::from_nanos(1);
    let mut books =
        Journaled::new(Books::new(BooksConfig::new(TreasuryConfig::new(1, []))).unwrap(), MemoryStore::default());
    let client = books.open_party(now, &[1; 32]).unwrap();
    books.apply(now, &Effect::Mint { id: 1, to: client.get(), amount: 9 }).unwrap();
    books.apply(now, &Effect::Lock { id: 2, from: client.get(), amount: 9, timeout_ns: 0 }).unwrap();
    metrics.books(books.state());

    metrics.transfer("transfer", true);
    metrics.transfer("pending", false);
    metrics.queue_wait(2_000_000_000);
    metrics.quota_denied();
    let tariff = Tariff::hanzo(1);
    let hour = Resources::new(2_000, 4 << 30, 0).unwrap().over(3_600_000_000_000);
    metrics.usage(&tariff, tariff.quanta(&hour).unwrap()).unwrap();
    metrics.step(&StepReport::default());

    let text = metrics.render();
    for line in [
        "hanzo_metering_transfers_total{kind=\"transfer\",outcome=\"accepted\"} 1",
        "hanzo_metering_transfers_total{kind=\"pending\",outcome=\"refused\"} 1",
        "hanzo_metering_pendings_open 1",
        "hanzo_metering_usage_nano_cu_hours_total 40000000000",
        "hanzo_metering_invoices_total 0",
        "hanzo_metering_queue_jobs 1",
        "hanzo_metering_queue_wait_seconds_bucket{le=\"1.0\"} 0",
        "hanzo_metering_queue_wait_seconds_bucket{le=\"10.0\"} 1",
        "hanzo_metering_queue_wait_seconds_sum 2.0",
        "hanzo_metering_pool_used_ratio{resource=\"cpu\"} 0.75",
        "hanzo_metering_pool_used_ratio{resource=\"gpu\"} 0.0",
        "hanzo_metering_quota_denied_total 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}
