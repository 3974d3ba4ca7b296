# Of the image; users can have a file of their own in ~/.jupyter.
import os

from jupyter_resource_usage.api import ApiHandler
from jupyterhub_deploy_notebook import packages

c = get_config()  # type: ignore[name-defined]  # noqa: F821

packages.prepare(os.environ)
c.LabApp.extension_manager = "readonly"  # it would install into the environment of the server

if not os.environ.get("JUPYTER_GATEWAY_URL"):  # otherwise kernels run elsewhere, and need the class for a gateway
    c.ServerApp.kernel_websocket_connection_class = "jupyterhub_deploy_notebook.kernels.ExplainingConnection"

# An open page asks for the memory every few seconds, which is not use of the server.
ApiHandler._track_activity = False
c.ResourceUseDisplay.enable_prometheus_metrics = False  # it would look at all processes each second
