//! What the system knows of the process, under the names that Prometheus has for it.

use std::sync::atomic::{AtomicU64, Ordering};

use procfs::{WithCurrentSystemInfo as _, process::Process};
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

use super::registry::Registry;

type Seconds = Gauge<f64, AtomicU64>;

/// The metrics of the process. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct ProcessMetrics {
    cpu: Counter<f64, AtomicU64>,
    resident: Gauge,
    virtual_memory: Gauge,
    threads: Gauge,
    open_files: Gauge,
    max_files: Gauge,
    started: Seconds,
}

impl ProcessMetrics {
    /// Has them measured whenever the metrics are read.
    pub fn register(to: &mut Registry) {
        let metrics = Self::default();
        to.register_of_process(
            "process_cpu_seconds",
            "Processor time that the process has used, of the user and of the system",
            &metrics.cpu,
        );
        to.register_of_process(
            "process_resident_memory_bytes",
            "Memory of the process that is in the machine's memory",
            &metrics.resident,
        );
        to.register_of_process(
            "process_virtual_memory_bytes",
            "Addresses that the process has taken, used or not",
            &metrics.virtual_memory,
        );
        to.register_of_process("process_threads", "Threads of the process", &metrics.threads);
        to.register_of_process("process_open_fds", "Open file descriptors", &metrics.open_files);
        to.register_of_process(
            "process_max_fds",
            "File descriptors that the process may open",
            &metrics.max_files,
        );
        to.register_of_process(
            "process_start_time_seconds",
            "When the process started, as seconds since 1970",
            &metrics.started,
        );
        // What cannot be read stays as it was: a container may hide a part of it.
        to.before_scrape(move || drop(metrics.measure()));
    }

    fn measure(&self) -> procfs::ProcResult<()> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let ticks = procfs::ticks_per_second() as f64;
        let used = (stat.utime + stat.stime) as f64 / ticks;
        self.cpu.inner().store(used.to_bits(), Ordering::Relaxed);
        self.resident.set(gauge(stat.rss_bytes().get()));
        self.virtual_memory.set(gauge(stat.vsize));
        self.threads.set(stat.num_threads);
        self.open_files.set(gauge(process.fd_count()? as u64));
        if let procfs::process::LimitValue::Value(most) =
            process.limits()?.max_open_files.soft_limit
        {
            self.max_files.set(gauge(most));
        }
        // The time of the boot moves with the clock: read again, it would look like another start.
        if self.started.get() == 0.0 {
            self.started.set(procfs::boot_time_secs()? as f64 + stat.starttime as f64 / ticks);
        }
        Ok(())
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
