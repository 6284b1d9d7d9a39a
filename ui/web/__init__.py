"""The Streamlit app: `streamlit run ui/web/app.py`; LABELLOOP_WORKSPACE names the workspace."""
