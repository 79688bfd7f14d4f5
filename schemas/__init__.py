"""What an event is and how it is written: frozen typed records, ids, codec, versions, the table of topics."""
