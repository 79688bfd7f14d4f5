"""The live host: it will run the agents on Faust and Kafka; a host moves bytes and decides nothing."""
