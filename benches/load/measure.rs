//! What a process costs: processor time and resident memory from `/proc`, and how long it takes to start.

use std::fs;
use std::time::Duration;

/// Processor time of a process and all its threads since it began.
///
/// The kernel keeps the sum exactly and shows it in hundredths of a second, everywhere on Linux.
pub fn processor_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // The second field is the name in parentheses, which may itself hold spaces.
    let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("a number of ticks")).sum();
    Duration::from_millis(ticks * 10)
}

/// Resident memory in MiB.
pub fn resident(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line VmRSS");
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
    kib / 1024.0
}

/// Resident memory once it has ceased to move, for at most five seconds.
pub async fn resident_at_rest(pid: u32) -> f64 {
    let mut before = resident(pid);
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = resident(pid);
        if (now - before).abs() < 0.1 {
            return now;
        }
        before = now;
    }
    before
}

/// The middle value; the mean of the two in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}
