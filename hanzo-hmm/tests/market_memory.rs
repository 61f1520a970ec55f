//! What a million tenants cost.
#![expect(unsafe_code, reason = "a global allocator that counts has to implement an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use hanzo_hmm::market::{SignTable, TenantAdapter as _};

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system allocator unchanged; the counter is a plain atomic number.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the pointer came from `alloc` above, that is, from the system allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes held for tenants with habits for 4 regimes, 12 classes and 20 models.
fn bytes(tenants: usize) -> usize {
    let before = HELD.load(Ordering::Relaxed);
    let table = SignTable::new(12, 20, 1).expect("a valid size");
    let change = [0.1; 20];
    for t in 0..tenants {
        table.learn(&format!("tenant-{t}"), t % 4, t % 12, &change).expect("a valid change");
    }
    let held = HELD.load(Ordering::Relaxed) - before;
    assert_eq!(table.tenants(), (tenants, tenants - 1));
    let mut habit = [0.0; 20];
    table.adjust("tenant-5", &[0.0, 1.0, 0.0, 0.0], 5, &mut habit);
    assert!(habit.iter().all(|h| (h - 0.1).abs() < 1e-6));
    held
}

#[test]
fn a_tenant_costs_less_than_400_bytes() {
    let held = bytes(31_250);
    println!("{} bytes a tenant", held / 31_250);
    assert!(held < 400 * 31_250, "{held}");
}

#[test]
#[ignore = "a million tenants, seconds: cargo test --release -p hanzo-hmm --test market_memory -- --ignored"]
fn a_million_tenants_slow_() {
    let held = bytes(1_000_000);
    println!("{} MB", held / 1_000_000);
    assert!(held < 400_000_000, "{held}");
}
