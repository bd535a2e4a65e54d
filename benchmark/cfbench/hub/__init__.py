"""Everything that talks to the Hugging Face Hub, with its own client, huggingface_hub.

Cache, resumption, login (`hf auth login`, HF_TOKEN), mirrors (HF_ENDPOINT) and offline mode
(HF_HUB_OFFLINE) are those of huggingface_hub. A token comes from that login alone; it is neither
shown nor kept here.
"""
