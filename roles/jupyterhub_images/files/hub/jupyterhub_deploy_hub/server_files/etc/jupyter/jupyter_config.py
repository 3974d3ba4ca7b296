# Added to the container of each server by the hub.
import os
import sys

c = get_config()  # type: ignore[name-defined]  # noqa: F821

sys.path.append("/usr/local/share/jupyterhub-deploy")  # jupyterhub_deploy_idle
# Not in share/jupyter, which in the image of this project is the user's.
c.LabServerApp.extra_labextensions_path = ["/usr/local/share/jupyterhub-deploy/labextensions"]
c.MappingKernelManager.cull_idle_timeout = int(os.environ.get("JUPYTERHUB_DEPLOY_CULL_KERNELS", "0"))
c.MappingKernelManager.cull_connected = True  # a browser tab is connected, used or not
