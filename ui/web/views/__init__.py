"""What the pages show: catalog in, frozen records and pandas frames out; no Streamlit in here."""
