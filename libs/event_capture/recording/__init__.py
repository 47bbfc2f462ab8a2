"""Keeping what was captured: the recorder, the file format, redaction."""

from event_capture.recording.jsonl import RecordingWriter, decode_record, encode_record, open_recording, read_recording
from event_capture.recording.recorder import Recorder, RecorderStatistics
from event_capture.recording.redaction import Redaction

__all__ = [
    "Recorder",
    "RecorderStatistics",
    "RecordingWriter",
    "Redaction",
    "decode_record",
    "encode_record",
    "open_recording",
    "read_recording",
]
