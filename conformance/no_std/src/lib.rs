//! See the manifest: that this links at all is the test.
#![no_std]

use hanzo_bitdelta as _;
use hanzo_metering as _;
use hanzo_poai as _;
use hanzo_pqc as _;
use hanzo_snow as _;

use core::alloc::{GlobalAlloc, Layout};

struct NoMemory;

// SAFETY: returning null is allowed and means that the allocation failed; nothing is ever handed out.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }
    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static MEMORY: NoMemory = NoMemory;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
