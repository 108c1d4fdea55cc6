//! One lease's spool on disk: segments of records, appended only.
//!
//! What was acknowledged is kept while there is room, because a service may come back with less of a log than it had
//! acknowledged; when there is no room, whole acknowledged segments go first.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::record::{HEAD_BYTES, LogOf, PEEK_BYTES, Record, decode, encode, peek_piece, whole_length};

/// A place in a spool: where a record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The number of the segment.
    pub(crate) segment: u64,
    /// The byte in it.
    pub(crate) at: u64,
}

/// How far the service has acknowledged. Written now and then: it may be older than the truth, never newer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// The first record that is not acknowledged.
    pub(crate) place: Place,
    /// The step whose logs were sent last.
    pub(crate) step: u32,
    /// By the number of the log: how much further the service's log of that step is than the step's own bytes.
    #[serde(default)]
    pub(crate) shifts: BTreeMap<u32, i64>,
}

/// The file with the mark.
const MARK: &str = "sent";

#[derive(Debug)]
struct Segment {
    number: u64,
    path: PathBuf,
    file: Arc<File>,
    bytes: u64,
}

/// A lease's spool on disk.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    segment_bytes_max: u64,
    segments: VecDeque<Segment>,
    /// Files with bytes that are not synced.
    dirty: Vec<Arc<File>>,
    /// Whether the folder's own entry is synced.
    is_folder_synced: bool,
}

impl Disk {
    /// Begins a spool in a folder of its own.
    pub(crate) fn create(folder: PathBuf, segment_bytes_max: u64) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let mut disk =
            Self { folder, segment_bytes_max, segments: VecDeque::new(), dirty: Vec::new(), is_folder_synced: false };
        disk.add_segment(1)?;
        Ok(disk)
    }

    /// Opens what an earlier process left, cuts a torn end off, and shows each record to `see`.
    pub(crate) fn open(folder: PathBuf, segment_bytes_max: u64, mut see: impl FnMut(&Record)) -> io::Result<Self> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&folder)? {
            let name = entry?.file_name();
            let number: Option<u64> =
                name.to_str().and_then(|name| name.strip_suffix(".seg")).and_then(|name| name.parse().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        let mut disk =
            Self { folder, segment_bytes_max, segments: VecDeque::new(), dirty: Vec::new(), is_folder_synced: false };
        let mut is_torn = false;
        for number in numbers {
            let path = disk.path_of(number);
            if is_torn || disk.segments.back().is_some_and(|last| last.number + 1 != number) {
                // What follows a torn end was never synced.
                is_torn = true;
                fs::remove_file(&path)?;
                continue;
            }
            let file = File::options().read(true).write(true).open(&path)?;
            let whole = file.metadata()?.len();
            let mut segment = Segment { number, path, file: Arc::new(file), bytes: whole };
            let mut at = 0;
            while let Some((record, next)) = segment.read(at)? {
                see(&record);
                at = next;
            }
            if at < whole {
                segment.file.set_len(at)?;
                segment.bytes = at;
                is_torn = true;
            }
            disk.segments.push_back(segment);
        }
        if disk.segments.is_empty() {
            disk.add_segment(1)?;
        }
        Ok(disk)
    }

    fn path_of(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:08}.seg"))
    }

    fn add_segment(&mut self, number: u64) -> io::Result<()> {
        let path = self.path_of(number);
        let file = Arc::new(File::options().create_new(true).read(true).write(true).open(&path)?);
        self.is_folder_synced = false;
        self.segments.push_back(Segment { number, path, file, bytes: 0 });
        Ok(())
    }

    /// Gives the bytes that it takes.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Gives the first place that is kept.
    pub(crate) fn first(&self) -> Place {
        self.segments.front().map(|segment| Place { segment: segment.number, at: 0 }).unwrap_or_default()
    }

    /// Appends a record; gives how many bytes it takes. After an error nothing of it is left.
    pub(crate) fn append(&mut self, record: &Record) -> io::Result<u64> {
        let bytes = encode(record);
        let last = self.segments.back().ok_or_else(no_segment)?;
        if last.bytes > 0 && last.bytes + bytes.len() as u64 > self.segment_bytes_max {
            let number = last.number + 1;
            self.add_segment(number)?;
        }
        let last = self.segments.back_mut().ok_or_else(no_segment)?;
        if let Err(error) = last.file.write_all_at(&bytes, last.bytes) {
            // Half a record at the end would be cut off by the next process anyway.
            last.file.set_len(last.bytes).ok();
            return Err(error);
        }
        last.bytes += bytes.len() as u64;
        if !self.dirty.last().is_some_and(|file| Arc::ptr_eq(file, &last.file)) {
            self.dirty.push(Arc::clone(&last.file));
        }
        Ok(bytes.len() as u64)
    }

    /// Reads the record at a place, and gives the place of the next one; `None` at the end.
    pub(crate) fn read(&self, place: Place) -> io::Result<Option<(Record, Place)>> {
        for segment in self.segments.iter().filter(|segment| segment.number >= place.segment) {
            let at = if segment.number == place.segment { place.at } else { 0 };
            if at < segment.bytes {
                let read = segment.read(at)?;
                let (record, at) = read.ok_or_else(|| damaged(&segment.path, at))?;
                return Ok(Some((record, Place { segment: segment.number, at })));
            }
        }
        Ok(None)
    }

    /// Finds the piece of a log that has the byte at `offset`; `None` if it is not kept.
    pub(crate) fn find(&self, log: LogOf, offset: u64) -> io::Result<Option<Place>> {
        for segment in &self.segments {
            let mut at = 0;
            while at < segment.bytes {
                let mut head = [0; PEEK_BYTES];
                let there = usize::try_from(segment.bytes - at).unwrap_or(PEEK_BYTES).min(PEEK_BYTES);
                segment.file.read_exact_at(&mut head[..there], at)?;
                if let Some((of, begin, length)) = peek_piece(&head[..there])
                    && of == log
                    && offset < begin + u64::from(length)
                {
                    let place = Place { segment: segment.number, at };
                    return Ok((begin <= offset).then_some(place));
                }
                let length = [head[0], head[1], head[2], head[3]];
                at += whole_length(length).map_err(|_| damaged(&segment.path, at))? as u64;
            }
        }
        Ok(None)
    }

    /// Deletes segments that end before `acknowledged`, from the first, until at most `bytes_max` are left; gives the
    /// bytes that became free.
    pub(crate) fn reclaim(&mut self, acknowledged: Place, bytes_max: u64) -> u64 {
        let mut freed = 0;
        while self.segments.len() > 1
            && self.bytes() > bytes_max
            && self.segments.front().is_some_and(|first| first.number < acknowledged.segment)
        {
            let Some(first) = self.segments.pop_front() else { break };
            if let Err(error) = fs::remove_file(&first.path) {
                tracing::warn!(path = %first.path.display(), %error, "a sent part of a spool cannot be deleted");
            }
            self.dirty.retain(|file| !Arc::ptr_eq(file, &first.file));
            freed += first.bytes;
        }
        freed
    }

    /// Gives what must be synced so that everything up to here is safe.
    pub(crate) fn take_dirty(&mut self) -> Unsynced {
        let folder = (!std::mem::replace(&mut self.is_folder_synced, true)).then(|| self.folder.clone());
        Unsynced { files: std::mem::take(&mut self.dirty), folder }
    }

    /// Says how far the service is. A power cut may lose it, which costs that something is sent again.
    pub(crate) fn write_mark(&self, mark: &Mark) -> io::Result<()> {
        let new = self.folder.join("sent.new");
        fs::write(&new, serde_json::to_vec(mark)?)?;
        fs::rename(new, self.folder.join(MARK))
    }

    /// Reads how far the service was.
    pub(crate) fn read_mark(&self) -> Option<Mark> {
        let mark: Mark = serde_json::from_slice(&fs::read(self.folder.join(MARK)).ok()?).ok()?;
        let end = self.segments.back()?;
        let end = Place { segment: end.number, at: end.bytes };
        (mark.place <= end).then_some(mark)
    }

    /// Deletes everything.
    pub(crate) fn delete(&mut self) -> io::Result<()> {
        self.segments.clear();
        self.dirty.clear();
        fs::remove_dir_all(&self.folder)
    }
}

impl Segment {
    /// Reads the record at a byte, and gives where the next one begins; `None` where no whole record is.
    fn read(&self, at: u64) -> io::Result<Option<(Record, u64)>> {
        let left = self.bytes.saturating_sub(at);
        if left < HEAD_BYTES as u64 {
            return Ok(None);
        }
        let mut head = [0; 4];
        self.file.read_exact_at(&mut head, at)?;
        let Some(length) = whole_length(head).ok().filter(|length| *length as u64 <= left) else { return Ok(None) };
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(decode(&bytes).ok().map(|record| (record, at + length as u64)))
    }
}

/// What must be synced.
#[derive(Debug)]
pub(crate) struct Unsynced {
    files: Vec<Arc<File>>,
    folder: Option<PathBuf>,
}

impl Unsynced {
    /// Syncs it. Blocks.
    pub(crate) fn sync(&self) -> io::Result<()> {
        for file in &self.files {
            file.sync_data()?;
        }
        let Some(folder) = &self.folder else { return Ok(()) };
        File::open(folder)?.sync_all()?;
        folder.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    }
}

fn no_segment() -> io::Error {
    io::Error::other("the spool is deleted")
}

fn damaged(path: &Path, at: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("`{}` is damaged at byte {at}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::record::Piece;
    use super::*;

    fn piece(step: u32, offset: u64) -> Record {
        Record::Piece(Piece { step, log: 0, offset, length: 10, frame: vec![7; 100] })
    }

    fn all(disk: &Disk) -> Vec<Record> {
        let mut records = Vec::new();
        let mut place = disk.first();
        while let Some((record, next)) = disk.read(place).unwrap() {
            records.push(record);
            place = next;
        }
        records
    }

    #[test]
    fn a_torn_end_is_cut_off_wherever_it_is_torn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let mut disk = Disk::create(path.clone(), 1 << 20).unwrap();
        let first = disk.append(&piece(0, 0)).unwrap();
        let second = disk.append(&piece(0, 10)).unwrap();
        let file = path.join("00000001.seg");
        let whole = fs::read(&file).unwrap();
        for cut in 0..=second {
            fs::write(&file, &whole[..usize::try_from(first + cut).unwrap()]).unwrap();
            let mut seen = Vec::new();
            let mut disk = Disk::open(path.clone(), 1 << 20, |record| seen.push(record.clone())).unwrap();
            let left = if cut == second { vec![piece(0, 0), piece(0, 10)] } else { vec![piece(0, 0)] };
            assert_eq!(seen, left, "{cut}");
            disk.append(&piece(0, 20)).unwrap();
            assert_eq!(all(&disk), [left, vec![piece(0, 20)]].concat());
        }
    }

    #[test]
    fn what_follows_a_torn_segment_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let mut disk = Disk::create(path.clone(), 150).unwrap();
        for index in 0..4 {
            disk.append(&piece(0, index * 10)).unwrap();
        }
        let second = path.join("00000002.seg");
        let mut bytes = fs::read(&second).unwrap();
        bytes[30] ^= 1;
        fs::write(&second, bytes).unwrap();
        let disk = Disk::open(path.clone(), 150, |_| {}).unwrap();
        assert_eq!(all(&disk), [piece(0, 0)]);
        assert!(!path.join("00000003.seg").exists());
    }

    #[test]
    fn a_byte_is_found_and_sent_segments_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Disk::create(folder.path().join("spool"), 300).unwrap();
        for index in 0..20 {
            disk.append(&piece(u32::from(index >= 10), (index % 10) * 10)).unwrap();
        }
        let found = |disk: &Disk, step, offset| {
            let place = disk.find((step, 0), offset).unwrap()?;
            disk.read(place).unwrap().map(|(record, _)| record)
        };
        assert_eq!(found(&disk, 1, 35), Some(piece(1, 30)));
        assert_eq!(found(&disk, 0, 0), Some(piece(0, 0)));
        assert_eq!(found(&disk, 1, 100), None);
        let before = disk.bytes();
        assert_eq!(disk.reclaim(Place { segment: 3, at: 0 }, u64::MAX), 0, "there is room");
        let freed = disk.reclaim(Place { segment: 3, at: 0 }, 0);
        assert_eq!(disk.bytes() + freed, before);
        assert_eq!(disk.first().segment, 3, "what is not acknowledged stays");
        assert_eq!(found(&disk, 0, 0), None, "it is not kept any more");
        assert_eq!(found(&disk, 0, 40), Some(piece(0, 40)));
    }

    #[test]
    fn a_mark_beyond_the_end_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Disk::create(folder.path().join("spool"), 300).unwrap();
        disk.append(&piece(0, 0)).unwrap();
        let mark = Mark { place: Place { segment: 1, at: 5 }, step: 3, shifts: [(0, -7), (2, 5)].into() };
        disk.write_mark(&mark).unwrap();
        assert_eq!(disk.read_mark(), Some(mark.clone()));
        disk.write_mark(&Mark { place: Place { segment: 2, at: 0 }, ..mark }).unwrap();
        assert_eq!(disk.read_mark(), None);
    }
}
