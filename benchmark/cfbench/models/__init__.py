"""The reference models: what answers the four tasks of a batch of waveforms."""
