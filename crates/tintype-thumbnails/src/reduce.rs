//! Shrinks a picture by whole factors while its rows arrive, so that it never has to be in memory at once.
//!
//! A box filter: each result is the mean of a block of pixels, weighted by alpha where there is alpha (a
//! transparent pixel's colour means nothing). It leaves enough pixels for the good filter that follows.

use crate::bitmap::{Bitmap, Layout};
use crate::plan::{Plan, Region};

/// How much larger than the target a reduced picture stays: below this the box filter begins to show.
const MARGIN: f64 = 2.5;

/// Blocks are at most this wide and high, which keeps their sums in range (65,535 and 4,294,967,295).
const MAX_FACTOR: u32 = 256;

/// Takes rows from the top and gives the reduced bitmap.
pub(crate) struct Reducer {
    width: usize,
    layout: Layout,
    factor_x: usize,
    factor_y: usize,
    sums: Sums,
    rows_in_sums: usize,
    samples: Vec<u8>,
    height: u32,
}

enum Sums {
    /// Nothing is reduced.
    None,
    /// Columns of samples.
    Plain(Vec<u16>),
    /// Columns of samples times alpha, and of alpha.
    Weighted(Vec<u32>),
}

impl Reducer {
    /// For rows of `plan.source.width()` pixels.
    pub fn new(plan: &Plan, layout: Layout) -> Self {
        let (factor_x, factor_y) = Self::factors(plan);
        let width = plan.source.width() as usize;
        let length = width * layout.channels();
        let (factor_x, factor_y) = (factor_x as usize, factor_y as usize);
        let sums = if factor_x == 1 && factor_y == 1 {
            Sums::None
        } else if layout.has_alpha() {
            Sums::Weighted(vec![0; length])
        } else {
            Sums::Plain(vec![0; length])
        };
        let rows = (plan.source.height() as usize).div_ceil(factor_y);
        Self {
            width,
            layout,
            factor_x,
            factor_y,
            sums,
            rows_in_sums: 0,
            samples: Vec::with_capacity(width.div_ceil(factor_x) * rows * layout.channels()),
            height: 0,
        }
    }

    fn factors(plan: &Plan) -> (u32, u32) {
        let (factor_x, factor_y) = plan.reduction(MARGIN);
        (factor_x.min(MAX_FACTOR), factor_y.min(MAX_FACTOR))
    }

    /// Bytes that a reducer for this plan holds, its result included.
    pub fn memory(plan: &Plan, layout: Layout) -> u64 {
        let (factor_x, factor_y) = Self::factors(plan);
        let channels = layout.channels() as u64;
        let width = u64::from(plan.source.width().div_ceil(factor_x));
        let height = u64::from(plan.source.height().div_ceil(factor_y));
        let sums = u64::from(plan.source.width()) * channels * 4;
        width * height * channels + sums
    }

    /// Takes the next row. One of another length than the picture's is cut or left short.
    pub fn push_row(&mut self, row: &[u8]) {
        match &mut self.sums {
            Sums::None => {
                self.samples.extend_from_slice(row);
                self.height += 1;
                return;
            }
            Sums::Plain(sums) => {
                for (sum, &sample) in sums.iter_mut().zip(row) {
                    *sum += u16::from(sample);
                }
            }
            Sums::Weighted(sums) if self.layout == Layout::Rgba => add_weighted::<4>(sums, row),
            Sums::Weighted(sums) => add_weighted::<2>(sums, row),
        }
        self.rows_in_sums += 1;
        if self.rows_in_sums == self.factor_y {
            self.finish_band();
        }
    }

    /// The reduced bitmap, and where the plan's region lies in it.
    pub fn finish(mut self, plan: &Plan) -> (Bitmap, Region) {
        if self.rows_in_sums > 0 {
            self.finish_band();
        }
        let (factor_x, factor_y) = Self::factors(plan);
        let bitmap = Bitmap {
            width: plan.source.width().div_ceil(factor_x),
            height: self.height,
            layout: self.layout,
            samples: self.samples,
        };
        let region = plan.region.divided(f64::from(factor_x), f64::from(factor_y));
        (bitmap, region)
    }

    fn finish_band(&mut self) {
        let rows = self.rows_in_sums;
        let (width, factor) = (self.width, self.factor_x);
        let samples = &mut self.samples;
        match (&mut self.sums, self.layout) {
            (Sums::None, _) => {}
            (Sums::Plain(sums), Layout::Gray) => mean_plain::<1>(sums, width, factor, rows, samples),
            (Sums::Plain(sums), _) => mean_plain::<3>(sums, width, factor, rows, samples),
            (Sums::Weighted(sums), Layout::Rgba) => {
                mean_weighted::<4>(sums, width, factor, rows, samples);
            }
            (Sums::Weighted(sums), _) => mean_weighted::<2>(sums, width, factor, rows, samples),
        }
        self.rows_in_sums = 0;
        self.height += 1;
    }
}

fn add_weighted<const CHANNELS: usize>(sums: &mut [u32], row: &[u8]) {
    let (sums, _) = sums.as_chunks_mut::<CHANNELS>();
    let (row, _) = row.as_chunks::<CHANNELS>();
    for (sums, pixel) in sums.iter_mut().zip(row) {
        let alpha = u32::from(pixel[CHANNELS - 1]);
        for channel in 0..CHANNELS - 1 {
            sums[channel] += u32::from(pixel[channel]) * alpha;
        }
        sums[CHANNELS - 1] += alpha;
    }
}

/// Appends the means of the blocks whose columns are summed in `sums`, and clears it.
fn mean_plain<const CHANNELS: usize>(
    sums: &mut [u16],
    width: usize,
    factor: usize,
    rows: usize,
    samples: &mut Vec<u8>,
) {
    let (pixels, _) = sums.as_chunks::<CHANNELS>();
    for block in pixels[..width].chunks(factor) {
        let mut total = [0_u32; CHANNELS];
        for pixel in block {
            for channel in 0..CHANNELS {
                total[channel] += u32::from(pixel[channel]);
            }
        }
        samples.extend(total.map(|total| divide(total, block.len() * rows)));
    }
    sums.fill(0);
}

/// As [`mean_plain`], each pixel counting as much as its alpha.
fn mean_weighted<const CHANNELS: usize>(
    sums: &mut [u32],
    width: usize,
    factor: usize,
    rows: usize,
    samples: &mut Vec<u8>,
) {
    let (pixels, _) = sums.as_chunks::<CHANNELS>();
    for block in pixels[..width].chunks(factor) {
        let mut total = [0_u32; CHANNELS];
        for pixel in block {
            for channel in 0..CHANNELS {
                total[channel] += pixel[channel];
            }
        }
        let alpha = total[CHANNELS - 1];
        let mut mean = total.map(|total| divide(total, alpha as usize));
        mean[CHANNELS - 1] = divide(alpha, block.len() * rows);
        samples.extend(mean);
    }
    sums.fill(0);
}

/// To the nearest; nothing divided by nothing is nothing.
fn divide(total: u32, count: usize) -> u8 {
    let (total, count) = (u64::from(total), count as u64);
    u8::try_from((total + count / 2).checked_div(count).unwrap_or(0)).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orientation::Orientation;
    use crate::request::{Dimensions, Method, Request};

    fn plan(source: (u32, u32), wanted: (u32, u32)) -> Plan {
        let size = |(width, height)| Dimensions::new(width, height).unwrap();
        let request = Request { size: size(wanted), method: Method::Crop };
        Plan::new(size(source), Orientation::UPRIGHT, &request)
    }

    #[test]
    fn blocks_become_their_means_also_at_the_edges() {
        let plan = plan((7, 7), (1, 1));
        let mut reducer = Reducer::new(&plan, Layout::Gray);

        for row in 0..7_u8 {
            reducer.push_row(&[row * 10; 7]);
        }
        let (bitmap, region) = reducer.finish(&plan);

        assert_eq!((bitmap.width, bitmap.height), (4, 4));
        assert_eq!(bitmap.samples.chunks(4).map(|row| row[3]).collect::<Vec<_>>(), [5, 25, 45, 60]);
        assert!((region.width - 3.5).abs() < 1e-9);
    }

    #[test]
    fn transparent_pixels_do_not_colour_their_neighbours() {
        let plan = plan((6, 6), (1, 1));
        let mut reducer = Reducer::new(&plan, Layout::Rgba);

        for _ in 0..6 {
            reducer.push_row(&[200, 100, 50, 255, 0, 0, 0, 0].repeat(3));
        }
        let (bitmap, _) = reducer.finish(&plan);

        assert_eq!(bitmap.samples[..4], [200, 100, 50, 128]);
    }

    #[test]
    fn the_largest_blocks_do_not_overflow() {
        let plan = plan((1024, 1024), (1, 1));
        for (layout, row) in [(Layout::Rgb, vec![255; 1024 * 3]), (Layout::Rgba, vec![255; 1024 * 4])] {
            let mut reducer = Reducer::new(&plan, layout);
            for _ in 0..1024 {
                reducer.push_row(&row);
            }
            let (bitmap, _) = reducer.finish(&plan);
            assert!(bitmap.samples.iter().all(|&sample| sample == 255));
        }
    }
}
