"""The bank's desk of ``examples.loans`` as an HTTP service with FastAPI.

    pip install headwater fastapi uvicorn
    uvicorn --factory examples.fastapi_service.app:create_app

``app`` opens the store, takes commands and answers questions; ``tracing`` gives every event the request's id.
"""
