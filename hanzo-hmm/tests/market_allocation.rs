//! A decision into the memory of an earlier one does not allocate.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]
#![expect(unsafe_code, reason = "a global allocator that counts has to implement an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use hanzo_hmm::market::{
    Classes, Likelihood, ModelSpec, Outcome, RouteOptions, RoutingDecision, SignTable, TenantAdapter,
};
use hanzo_hmm::{Config, MarketMaker, RoutingRequest};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system allocator unchanged; the counter is a plain thread-local number.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, that is, from the system allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Twenty models, of which every seventh is too slow.
fn market(likelihood: Likelihood) -> MarketMaker {
    let models = (0..20).map(|i| ModelSpec {
        quality: 0.4 + 0.02 * f64::from(i),
        tokens_per_second: if i % 7 == 0 { 10.0 } else { 50.0 },
        ..ModelSpec::new(format!("model {i}"), 0.0005 * f64::from(i + 1))
    });
    let config = Config::default().models(models.collect()).max_decisions(64);
    let habits = SignTable::new(12, 20, 4).unwrap();
    habits.learn("tenant 1", 0, 3, &[0.1; 20]).unwrap();
    MarketMaker::builder(config)
        .likelihood(likelihood)
        .adapter(move |tenant: &str, regime: &[f64], class: usize, out: &mut [f64]| {
            habits.adjust(tenant, regime, class, out)
        })
        .build()
        .unwrap()
}

fn requests() -> Vec<(String, RoutingRequest, RouteOptions)> {
    (0..40)
        .map(|i| {
            let mut request = RoutingRequest {
                input: format!("Question {i}: why is the sky blue on day {}? {}", i % 5, "word ".repeat(i)),
                context: vec!["earlier text".into()],
                observations: vec![0.5, 0.1, 0.02, 0.1],
                ..RoutingRequest::default()
            };
            request.requirements.min_tokens_per_second = Some(20.0);
            request.preferences.quality_threshold = 0.5;
            request.preferences.preferred_models = vec!["model 3".into()];
            let options = RouteOptions {
                class: i % 12,
                horizon: 1 + i % 4,
                seed: (i % 3 == 0).then_some(i as u64),
                ..RouteOptions::default()
            };
            (format!("tenant {}", i % 3), request, options)
        })
        .collect()
}

/// The kinds of the linear likelihood are found afresh at requests 33, 65, 129, 257 and 513; between them nothing is allocated.
#[test]
fn decisions_do_not_allocate_after_the_first_few() {
    for likelihood in
        [Likelihood::Categorical(Classes::Given(12)), Likelihood::Categorical(Classes::Found(8)), Likelihood::Linear]
    {
        let market = market(likelihood);
        let requests = requests();
        let mut decision = RoutingDecision::default();
        let mut turn = 0;
        let mut play = |counted: bool| {
            let mut counts = 0;
            for (tenant, request, options) in &requests {
                let before = ALLOCATIONS.with(Cell::get);
                market.route_into(tenant, request, options, &mut decision).unwrap();
                counts += ALLOCATIONS.with(Cell::get) - before;
                assert_eq!((decision.fallbacks.len(), decision.rejected.len()), (8, 3));
                // Every ninth answer is lost.
                turn += 1;
                if turn % 9 > 0 {
                    let outcome = Outcome::success(0.7, 300, decision.estimated_cost_usd);
                    market.record_outcome(decision.id, &outcome).unwrap();
                }
            }
            assert!(!counted || counts == 0, "{counts} allocations in {} decisions, {likelihood:?}", requests.len());
        };
        for _ in 0..14 {
            play(false);
        }
        for _ in 0..4 {
            play(true);
        }
    }
}

#[test]
fn the_form_that_allocates_decides_alike() {
    let (one, other) = (market(Likelihood::Linear), market(Likelihood::Linear));
    let mut memory = RoutingDecision::default();
    for (tenant, request, options) in &requests() {
        one.route_into(tenant, request, options, &mut memory).unwrap();
        assert_eq!(other.route(tenant, request, options).unwrap(), memory);
    }
    let kept = memory.clone();
    assert!(
        one.route_into(
            "t",
            &RoutingRequest::default(),
            &RouteOptions { now: Some(0), max_cost_usd: Some(0.0), ..RouteOptions::default() },
            &mut memory
        )
        .is_err()
    );
    assert_eq!(memory, kept, "an error leaves the memory");
}
