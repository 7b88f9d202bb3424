//! Skills: folders of the host, copied whole to `~/.claude/skills/NAME`. A symbolic link stays one, so that a link cannot
//! carry a file from elsewhere on the host into the bottle.

use super::{Account, ProvisionError, at_home};
use crate::archive::{Archive, Facts};
use crate::plan::Skill;
use crate::provision::workdir::copy;

pub(super) fn add(archive: &mut Archive, account: &Account, skills: &[Skill]) -> Result<(), ProvisionError> {
    if skills.is_empty() {
        return Ok(());
    }
    for folder in [".claude", ".claude/skills"] {
        archive.folder(&at_home(account, folder), Facts::new(0o755, account.owner)).map_err(ProvisionError::Pack)?;
    }
    for skill in skills {
        copy(archive, &skill.folder, &at_home(account, &format!(".claude/skills/{}", skill.name)), account.owner)?;
    }
    Ok(())
}
