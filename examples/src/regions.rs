//! Distances between regions, for networks that are simulated.

/// Typical round trips between ten regions of public clouds, in milliseconds: a guess, not a measurement.
pub const REGIONS: [[u64; 10]; 10] = [
    [1, 65, 115, 70, 90, 170, 195, 215, 150, 200],
    [65, 1, 175, 125, 145, 225, 220, 165, 100, 140],
    [115, 175, 1, 180, 200, 270, 300, 325, 255, 310],
    [70, 125, 180, 1, 25, 110, 120, 175, 210, 260],
    [90, 145, 200, 25, 1, 105, 125, 160, 225, 250],
    [170, 225, 270, 110, 105, 1, 40, 95, 160, 180],
    [195, 220, 300, 120, 125, 40, 1, 60, 125, 150],
    [215, 165, 325, 175, 160, 95, 60, 1, 70, 95],
    [150, 100, 255, 210, 225, 160, 125, 70, 1, 105],
    [200, 140, 310, 260, 250, 180, 150, 95, 105, 1],
];

/// [`REGIONS`] as the simulators of networks take it.
pub fn round_trips() -> Vec<Vec<u64>> {
    REGIONS.iter().map(|row| row.to_vec()).collect()
}
