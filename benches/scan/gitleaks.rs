//! gitleaks over the same material: `go install github.com/zricethezav/gitleaks/v8@latest`.

use std::{
    env, fs, io,
    path::PathBuf,
    process::{Command, Stdio},
};

/// Enough to see its pace.
const ENOUGH: usize = 2 << 20;

pub struct Gitleaks(PathBuf);

impl Gitleaks {
    /// The program that the environment names.
    pub fn found() -> Option<Self> {
        env::var_os("GITLEAKS").map(PathBuf::from).filter(|path| path.is_file()).map(Self)
    }

    /// MiB per second of processor time, decoding on, the time to start it taken off.
    pub fn throughput(&self, material: &[u8]) -> io::Result<f64> {
        let part = &material[..material.len().min(ENOUGH)];
        let start = self.seconds(b"nothing")?;
        let seconds = self.seconds(part)? - start;
        Ok(part.len() as f64 / seconds.max(0.01) / f64::from(1 << 20))
    }

    fn seconds(&self, text: &[u8]) -> io::Result<f64> {
        let directory = tempfile::tempdir()?;
        fs::write(directory.path().join("text"), text)?;
        let before = children();
        Command::new(&self.0)
            .arg("dir")
            .arg(directory.path())
            .args(["--no-banner", "--log-level", "error", "--max-decode-depth", "2", "--exit-code", "0"])
            .stdout(Stdio::null())
            .status()?;
        Ok(children() - before)
    }
}

/// Seconds of processor time of the children that have ended.
fn children() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name, which is in brackets: cutime and cstime are the 14th and 15th (proc(5)), in hundredths.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(13).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}
