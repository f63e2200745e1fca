//! Style and pictures of the pages, inside the program. Their addresses hold the version, so that browsers keep them for ever and a
//! new release is seen at once.

/// A file as it lies in the program.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    name: &'static str,
    pub kind: &'static str,
    pub bytes: &'static [u8],
    /// The bytes are gzip's.
    pub zipped: bool,
}

/// Below this lies all of them, for every face of the site that shows pages.
pub const ROOT: &str = "/assets/";

macro_rules! folder {
    ($name:expr) => {
        concat!("/assets/nhsuk-10.6.1/", $name)
    };
}

/// The style's address.
pub const STYLE: &str = folder!("nhsuk-frontend.min.css");
/// Our own: the NHS's is a protected mark.
pub const ICON: &str = folder!("icon.svg");

macro_rules! picture {
    ($name:literal) => {
        Asset {
            name: folder!(concat!("images/", $name)),
            kind: "image/svg+xml",
            bytes: include_bytes!(concat!("assets/", $name)),
            zipped: false,
        }
    };
}

/// All of them.
pub const ALL: &[Asset] = &[
    Asset {
        name: STYLE,
        kind: "text/css; charset=utf-8",
        bytes: include_bytes!("assets/nhsuk-frontend.min.css.gz"),
        zipped: true,
    },
    Asset { name: ICON, kind: "image/svg+xml", bytes: include_bytes!("assets/icon.svg"), zipped: false },
    picture!("nhsuk-icon-arrow-down.svg"),
    picture!("nhsuk-icon-arrow-up-down.svg"),
    picture!("nhsuk-icon-arrow-up.svg"),
    picture!("nhsuk-icon-cross.svg"),
];

/// The file at a path.
pub fn find(path: &str) -> Option<&'static Asset> {
    ALL.iter().find(|asset| asset.name == path)
}

impl Asset {
    pub fn path(&self) -> &'static str {
        self.name
    }
}
