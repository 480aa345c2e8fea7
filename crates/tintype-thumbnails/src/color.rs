//! Colours to sRGB, on the small result.
//!
//! A thumbnail carries no profile: it would often be larger than the picture, and clients differ in
//! whether they honour it. A profile that is broken or of another kind than the picture is ignored: a
//! picture in slightly wrong colours is better than none.

use std::panic::{AssertUnwindSafe, catch_unwind};

use moxcms::{ColorProfile, Layout as IccLayout, TransformOptions};

use crate::bitmap::{Bitmap, Layout};

/// Profiles longer than this are ignored; real ones for print reach about 2 MiB.
pub(crate) const MAX_PROFILE_BYTES: usize = 4 * 1024 * 1024;

/// The same picture in sRGB (or gray with sRGB's tone curve), by `profile` if that can be used.
pub(crate) fn to_srgb(bitmap: Bitmap, profile: Option<&[u8]>) -> Bitmap {
    // The transforms are other people's code fed with hostile bytes, and optional: see above.
    let converted = profile
        .filter(|profile| profile.len() <= MAX_PROFILE_BYTES)
        .and_then(|profile| catch_unwind(AssertUnwindSafe(|| convert(&bitmap, profile))).ok().flatten());
    match converted {
        Some(converted) => converted,
        None if bitmap.layout == Layout::Cmyk => plain_rgb(&bitmap),
        None => bitmap,
    }
}

fn convert(bitmap: &Bitmap, profile: &[u8]) -> Option<Bitmap> {
    let profile = ColorProfile::new_from_slice(profile).ok()?;
    let (source, result) = match bitmap.layout {
        Layout::Gray | Layout::GrayAlpha => (IccLayout::Gray, IccLayout::Rgb),
        Layout::Rgb => (IccLayout::Rgb, IccLayout::Rgb),
        Layout::Rgba => (IccLayout::Rgba, IccLayout::Rgba),
        Layout::Cmyk => (IccLayout::Rgba, IccLayout::Rgb),
    };
    let transform =
        profile.create_transform_8bit(source, &ColorProfile::new_srgb(), result, TransformOptions::default()).ok()?;
    let convert = |samples: &[u8]| {
        let pixels = samples.len() / source.channels();
        let mut converted = vec![0; pixels * result.channels()];
        transform.transform(samples, &mut converted).ok()?;
        Some(converted)
    };
    let samples = match bitmap.layout {
        Layout::Gray => every_third(&convert(&bitmap.samples)?),
        Layout::GrayAlpha => {
            let (pixels, _) = bitmap.samples.as_chunks::<2>();
            let grays: Vec<u8> = pixels.iter().map(|&[gray, _]| gray).collect();
            let grays = every_third(&convert(&grays)?);
            let alphas = pixels.iter().map(|&[_, alpha]| alpha);
            grays.into_iter().zip(alphas).flat_map(|(gray, alpha)| [gray, alpha]).collect()
        }
        Layout::Rgb | Layout::Rgba | Layout::Cmyk => convert(&bitmap.samples)?,
    };
    Some(Bitmap { samples, layout: if bitmap.layout == Layout::Cmyk { Layout::Rgb } else { bitmap.layout }, ..*bitmap })
}

/// A gray from each pixel whose three samples are alike.
fn every_third(samples: &[u8]) -> Vec<u8> {
    samples.iter().skip(1).step_by(3).copied().collect()
}

/// What ink leaves of the light, where nothing is known of the inks.
fn plain_rgb(bitmap: &Bitmap) -> Bitmap {
    let (pixels, _) = bitmap.samples.as_chunks::<4>();
    let light = |ink: u8, black: u8| {
        let product = u32::from(u8::MAX - ink) * u32::from(u8::MAX - black);
        u8::try_from((product + 127) / 255).unwrap_or(u8::MAX)
    };
    Bitmap {
        samples: pixels
            .iter()
            .flat_map(|&[cyan, magenta, yellow, black]| {
                [light(cyan, black), light(magenta, black), light(yellow, black)]
            })
            .collect(),
        layout: Layout::Rgb,
        ..*bitmap
    }
}
