//! A disk as a crash of the power leaves it: what was synced is there; of everything else some may be.
//!
//! The rules are those that POSIX gives and no more: a file's bytes are safe after a sync of that file, its name after a
//! sync of its folder. What is not safe may be there as a whole, in part, or not at all, each sector of 512 bytes for
//! itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::dice::Dice;
use super::tape::Happening;

/// What a disk writes as a whole.
const SECTOR: usize = 512;

/// What becomes of what is not safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// Nothing of it is there.
    Dropped,
    /// All of it is there.
    Kept,
    /// Some sectors of it are there.
    Random,
    /// All of it but the last write, which is torn in the middle.
    Torn,
}

pub(crate) const FATES: [Fate; 4] = [Fate::Dropped, Fate::Kept, Fate::Random, Fate::Torn];

#[derive(Debug, Clone)]
enum Write {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

#[derive(Debug, Clone)]
enum NameChange {
    Made(PathBuf, usize),
    Gone(PathBuf),
}

#[derive(Debug, Clone, Default)]
struct Inode {
    is_folder: bool,
    safe: Vec<u8>,
    length: usize,
    pending: Vec<Write>,
    /// For a folder: what happened to the names in it.
    names: Vec<NameChange>,
    /// Per sync that is under way, how much of `pending` and `names` it will make safe.
    syncs: BTreeMap<u32, (usize, usize)>,
}

/// The disk, while the tape is played.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    inodes: Vec<Inode>,
    /// What the program sees.
    names: BTreeMap<PathBuf, usize>,
    /// What is safe.
    safe_names: BTreeMap<PathBuf, usize>,
}

/// What is found after a crash: folders, and files with their bytes.
pub(crate) type Image = BTreeMap<PathBuf, Option<Vec<u8>>>;

impl Disk {
    /// Makes a disk that has nothing but the folder `root`, which is safe.
    pub(crate) fn new(root: &Path) -> Self {
        let names = BTreeMap::from([(root.to_owned(), 0)]);
        Self { inodes: vec![Inode { is_folder: true, ..Inode::default() }], names: names.clone(), safe_names: names }
    }

    /// Plays on by one.
    pub(crate) fn play(&mut self, happening: &Happening) {
        match happening {
            Happening::Opened(path) => self.make(path, false),
            Happening::Folder(path) => self.make(path, true),
            Happening::Written(path, place, bytes) => {
                let inode = self.inode(path);
                let place = place.unwrap_or(inode.length);
                inode.length = inode.length.max(place + bytes.len());
                inode.pending.push(Write::Bytes(place, bytes.clone()));
            }
            Happening::Cut(path, length) => {
                let inode = self.inode(path);
                inode.length = *length;
                inode.pending.push(Write::Length(*length));
            }
            Happening::Removed(path) => {
                if self.names.remove(path).is_some() {
                    self.rename(path, NameChange::Gone(path.clone()));
                }
            }
            Happening::SyncBegins(path, number) => {
                let inode = self.inode(path);
                inode.syncs.insert(*number, (inode.pending.len(), inode.names.len()));
            }
            Happening::SyncEnds(path, number) => self.synced(path, *number),
            Happening::Told(_) => {}
        }
    }

    fn make(&mut self, path: &Path, is_folder: bool) {
        if !self.names.contains_key(path) {
            self.inodes.push(Inode { is_folder, ..Inode::default() });
            let number = self.inodes.len() - 1;
            self.names.insert(path.to_owned(), number);
            self.rename(path, NameChange::Made(path.to_owned(), number));
        }
    }

    fn rename(&mut self, path: &Path, change: NameChange) {
        let folder = path.parent().expect("what is on the disk is in a folder").to_owned();
        self.inode(&folder).names.push(change);
    }

    fn inode(&mut self, path: &Path) -> &mut Inode {
        let number = *self.names.get(path).unwrap_or_else(|| panic!("{} is not there", path.display()));
        &mut self.inodes[number]
    }

    fn synced(&mut self, path: &Path, number: u32) {
        // A file that was removed meanwhile is nobody's.
        let Some(inode) = self.names.get(path).copied() else { return };
        let inode = &mut self.inodes[inode];
        let Some((writes, names)) = inode.syncs.remove(&number) else { return };
        for write in inode.pending.drain(..writes) {
            apply(&mut inode.safe, &write);
        }
        for (begun_writes, begun_names) in inode.syncs.values_mut() {
            *begun_writes = begun_writes.saturating_sub(writes);
            *begun_names = begun_names.saturating_sub(names);
        }
        let names: Vec<NameChange> = inode.names.drain(..names).collect();
        for change in names {
            name(&mut self.safe_names, &change);
        }
    }

    /// Says how many writes are not safe.
    pub(crate) fn pending(&self) -> usize {
        self.inodes.iter().map(|inode| inode.pending.len() + inode.names.len()).sum()
    }

    /// Gives what the disk has after a crash now.
    pub(crate) fn crash(&self, fate: Fate, dice: &mut Dice) -> Image {
        let mut names = self.safe_names.clone();
        for inode in &self.inodes {
            // What happens to a folder's names happens in order; a journal of the file system may end anywhere.
            let kept = match fate {
                Fate::Dropped => 0,
                Fate::Random => usize::try_from(dice.below(inode.names.len() as u64 + 1)).unwrap(),
                Fate::Kept | Fate::Torn => inode.names.len(),
            };
            inode.names.iter().take(kept).for_each(|change| name(&mut names, change));
        }
        let root = self.safe_names.keys().next().expect("the root is always there");
        let is_there =
            |path: &Path| path.ancestors().take_while(|above| *above != root).all(|above| names.contains_key(above));
        let inner = names.iter().filter(|(path, _)| is_there(path));
        let content = |inode: &Inode, dice: &mut Dice| (!inode.is_folder).then(|| content(inode, fate, dice));
        inner.map(|(path, number)| (path.clone(), content(&self.inodes[*number], dice))).collect()
    }
}

fn name(names: &mut BTreeMap<PathBuf, usize>, change: &NameChange) {
    match change {
        NameChange::Made(path, number) => drop(names.insert(path.clone(), *number)),
        NameChange::Gone(path) => drop(names.remove(path)),
    }
}

fn content(inode: &Inode, fate: Fate, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = inode.safe.clone();
    let last = inode.pending.len();
    for (write, number) in inode.pending.iter().zip(1..) {
        match fate {
            Fate::Dropped => {}
            Fate::Kept => apply(&mut bytes, write),
            Fate::Torn if number < last => apply(&mut bytes, write),
            Fate::Torn => apply(&mut bytes, &torn(write)),
            Fate::Random => in_part(&mut bytes, write, dice),
        }
    }
    bytes
}

fn apply(bytes: &mut Vec<u8>, write: &Write) {
    match write {
        Write::Length(length) => bytes.resize(*length, 0),
        Write::Bytes(place, new) => put(bytes, *place, new),
    }
}

fn put(bytes: &mut Vec<u8>, place: usize, new: &[u8]) {
    let end = place + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[place..end].copy_from_slice(new);
}

/// Cuts a write at the sector that is nearest to its middle.
fn torn(write: &Write) -> Write {
    match write {
        Write::Length(length) => Write::Length(*length),
        Write::Bytes(place, new) => {
            let end = (place + new.len() / 2) / SECTOR * SECTOR;
            Write::Bytes(*place, new[..end.saturating_sub(*place).min(new.len())].to_vec())
        }
    }
}

/// Writes each sector with even chances; those behind the end of the file make it longer all the same.
fn in_part(bytes: &mut Vec<u8>, write: &Write, dice: &mut Dice) {
    let Write::Bytes(place, new) = write else {
        if dice.one_in(2) {
            apply(bytes, write);
        }
        return;
    };
    let mut from = 0;
    while from < new.len() {
        let to = ((place + from) / SECTOR * SECTOR + SECTOR - place).min(new.len());
        if dice.one_in(2) {
            put(bytes, place + from, &new[from..to]);
        }
        from = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> PathBuf {
        PathBuf::from(text)
    }

    fn file<'a>(image: &'a Image, name: &str) -> Option<&'a [u8]> {
        image.get(&path(name)).and_then(Option::as_deref)
    }

    #[test]
    fn what_was_synced_is_there_and_the_rest_may_be() {
        let mut disk = Disk::new(Path::new("/d"));
        let mut dice = Dice::new(1);
        disk.play(&Happening::Opened(path("/d/a")));
        disk.play(&Happening::Written(path("/d/a"), Some(0), vec![1; 1024]));
        disk.play(&Happening::SyncBegins(path("/d/a"), 1));
        disk.play(&Happening::Written(path("/d/a"), Some(0), vec![2; 1024]));
        assert_eq!(file(&disk.crash(Fate::Dropped, &mut dice), "/d/a"), None, "nobody synced its name");
        disk.play(&Happening::SyncEnds(path("/d/a"), 1));
        disk.play(&Happening::SyncBegins(path("/d"), 2));
        disk.play(&Happening::SyncEnds(path("/d"), 2));
        assert_eq!(
            file(&disk.crash(Fate::Dropped, &mut dice), "/d/a"),
            Some(&[1; 1024][..]),
            "the later write is not safe"
        );
        assert_eq!(file(&disk.crash(Fate::Kept, &mut dice), "/d/a"), Some(&[2; 1024][..]));
        let torn = [[2; 512], [1; 512]].concat();
        assert_eq!(file(&disk.crash(Fate::Torn, &mut dice), "/d/a"), Some(&torn[..]));
        let images: std::collections::BTreeSet<Image> = (0..50).map(|_| disk.crash(Fate::Random, &mut dice)).collect();
        assert_eq!(images.len(), 4, "each of two sectors is old or new");
    }

    #[test]
    fn a_name_is_there_only_in_a_folder_that_is_there() {
        let mut disk = Disk::new(Path::new("/d"));
        let mut dice = Dice::new(1);
        disk.play(&Happening::Folder(path("/d/logs")));
        disk.play(&Happening::Opened(path("/d/logs/a")));
        disk.play(&Happening::SyncBegins(path("/d/logs"), 1));
        disk.play(&Happening::SyncEnds(path("/d/logs"), 1));
        assert_eq!(disk.crash(Fate::Dropped, &mut dice).len(), 1, "only the root is safe");
        assert_eq!(disk.crash(Fate::Kept, &mut dice).len(), 3);
        disk.play(&Happening::Removed(path("/d/logs/a")));
        assert_eq!((disk.crash(Fate::Kept, &mut dice).len(), disk.pending()), (2, 2));
    }
}
