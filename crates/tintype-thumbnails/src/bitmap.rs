//! Decoded pixels, eight bits a sample, rows from the top without padding.

/// The samples of a pixel, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    Gray,
    GrayAlpha,
    Rgb,
    Rgba,
    /// Amounts of ink: 0 is none, 255 is all.
    Cmyk,
}

impl Layout {
    pub fn channels(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::GrayAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba | Self::Cmyk => 4,
        }
    }

    pub fn has_alpha(self) -> bool {
        matches!(self, Self::GrayAlpha | Self::Rgba)
    }
}

/// A picture in memory.
#[derive(Clone, Debug)]
pub(crate) struct Bitmap {
    pub width: u32,
    pub height: u32,
    pub layout: Layout,
    /// `width × height × channels` of them.
    pub samples: Vec<u8>,
}

impl Bitmap {
    /// The same picture without its alpha channel, if that says nothing.
    pub fn without_opaque_alpha(mut self) -> Self {
        let channels = self.layout.channels();
        let opaque = match self.layout {
            Layout::GrayAlpha => Layout::Gray,
            Layout::Rgba => Layout::Rgb,
            Layout::Gray | Layout::Rgb | Layout::Cmyk => return self,
        };
        let pixels = self.samples.chunks_exact(channels);
        if pixels.clone().all(|pixel| pixel[channels - 1] == u8::MAX) {
            self.samples = pixels.flat_map(|pixel| &pixel[..channels - 1]).copied().collect();
            self.layout = opaque;
        }
        self
    }
}
