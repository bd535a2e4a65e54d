"""The embedded track `codecfake-mini`: what its makers use to train and to judge small codecs."""
