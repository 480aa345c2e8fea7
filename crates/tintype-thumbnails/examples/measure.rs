//! Measures what a thumbnail costs: processor time per picture and the process's peak memory.
//!
//! ```text
//! cargo run --release -p tintype-thumbnails --example measure -- FILE WIDTH HEIGHT [scale|crop] [TIMES] [AT_ONCE]
//! ```
//!
//! Makes the thumbnail TIMES times (default 10), on AT_ONCE threads (default 1) behind a queue that is long
//! enough for all, and prints one line: the result, milliseconds of processor time (user and system, all
//! threads) per picture, and the peak resident memory in MiB. With the environment variable `OUTPUT` the
//! thumbnail is written to that file.

use std::fs::File;
use std::io::BufReader;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use rustix::param::clock_ticks_per_second;
use tintype_thumbnails::{Dimensions, Limits, Method, Pool, Request, Thumbnail, thumbnail};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [file, width, height, options @ ..] = arguments.as_slice() else {
        bail!("usage: measure FILE WIDTH HEIGHT [scale|crop] [TIMES] [AT_ONCE]");
    };
    let file = PathBuf::from(file);
    let request = Request {
        size: Dimensions::new(width.parse()?, height.parse()?).context("a side is zero")?,
        method: match options.first().map_or("scale", String::as_str) {
            "scale" => Method::Scale,
            "crop" => Method::Crop,
            other => bail!("{other} is neither scale nor crop"),
        },
    };
    let times: usize = options.get(1).map_or(Ok(10), |times| times.parse())?;
    let at_once: NonZeroUsize = options.get(2).map_or(Ok(NonZeroUsize::MIN), |at| at.parse())?;

    let pool = Arc::new(Pool::new(at_once, times)?);
    let before = processor_milliseconds()?;
    let jobs: Vec<_> = (0..times)
        .map(|_| {
            let (pool, file) = (Arc::clone(&pool), file.clone());
            tokio::spawn(async move { pool.run(move || make(&file, &request)).await })
        })
        .collect();
    let mut made = None;
    for job in jobs {
        made = Some(job.await???);
    }
    let spent = processor_milliseconds()? - before;

    let result = match made.context("no picture was made")? {
        Thumbnail::Original { format, .. } => format!("the original, {format:?}"),
        Thumbnail::Encoded { bytes, format, dimensions } => {
            if let Some(output) = env::var_os("OUTPUT") {
                fs::write(output, &bytes)?;
            }
            let (width, height) = (dimensions.width(), dimensions.height());
            format!("{format:?} {width}x{height}, {} bytes", bytes.len())
        }
    };
    println!(
        "{}: {result}; {:.1} ms of processor time each, peak {} MiB",
        file.display(),
        spent / f64::from(u32::try_from(times)?),
        peak_mebibytes()?
    );
    Ok(())
}

fn make(file: &Path, request: &Request) -> Result<Thumbnail> {
    let source = File::open(file)?;
    let length = source.metadata()?.len();
    let source = BufReader::with_capacity(64 * 1024, source);
    Ok(thumbnail(source, length, request, &Limits::default())?)
}

/// Fields 14 and 15 of /proc/self/stat (proc(5)), counted after the name, which may hold spaces.
fn processor_milliseconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("/proc/self/stat")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || -> Result<f64> { Ok(fields.next().context("/proc/self/stat")?.parse()?) };
    let ticks_per_second = f64::from(u32::try_from(clock_ticks_per_second())?);
    Ok((ticks()? + ticks()?) * 1000.0 / ticks_per_second)
}

fn peak_mebibytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kibibytes.context("/proc/self/status")?.parse::<u64>()? / 1024)
}
