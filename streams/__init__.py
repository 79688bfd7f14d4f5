"""The live host: the agents on Faust and Kafka. A host moves bytes and keeps positions; it decides nothing."""
